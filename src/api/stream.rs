//! `GET /v1/customers/{customer_id}/bank-links/events`: the list, then each event about the customer as it is published.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

use super::links::List;
use super::parameters::CustomerId;
use super::problem::Problem;
use super::report::Waiting;
use super::sse::{COMMENT, frame};
use super::watchers::{Change, Watch};
use super::{Api, RETRY_INTERVAL};

/// Asks nginx not to collect frames before it passes them on.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

pub(super) async fn events(State(api): State<Arc<Api>>, CustomerId(customer): CustomerId) -> Result<Response, Problem> {
    let place = api.place_to_wait()?;
    // Before the snapshot, so that no event is missed in between.
    let watch = api.watchers.watch(&customer);
    let list = api.list(&customer).await?;
    let stream =
        EventStream { api, customer, watch, first: Some(list), cursor: String::new(), is_behind: false, _place: place };
    let frames = stream::unfold(stream, async |mut stream| {
        let frame = stream.next().await?;
        Some((Ok::<_, Infallible>(frame), stream))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), NO_BUFFERING];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// One stream of events. It ends when the client disconnects or the process stops.
struct EventStream {
    api: Arc<Api>,
    customer: String,
    watch: Watch,
    /// The first snapshot, until it is sent.
    first: Option<List>,
    /// The cursor of the last snapshot.
    cursor: String,
    /// Whether events may have been missed, and the list could not be read since.
    is_behind: bool,
    _place: Waiting,
}

impl EventStream {
    /// Waits for the next frame. `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if let Some(list) = self.first.take() {
            return Some(self.snapshot(&list));
        }
        let comment_at = Instant::now() + self.api.settings.comment_interval;
        loop {
            let retry_at = Instant::now() + RETRY_INTERVAL;
            tokio::select! {
                biased;
                () = self.api.stop.cancelled() => return None,
                change = self.watch.next() => match change {
                    Change::Event(event) => return Some(frame(&event.event_type, Some(&event.id), &event.json)),
                    Change::Unknown => self.is_behind = true,
                },
                () = sleep_until(comment_at) => return Some(COMMENT.to_owned()),
                () = sleep_until(retry_at), if self.is_behind => {}
            }
            if self.is_behind
                && let Ok(list) = self.api.list(&self.customer).await
            {
                self.is_behind = false;
                if list.cursor != self.cursor {
                    return Some(self.snapshot(&list));
                }
            }
        }
    }

    fn snapshot(&mut self, list: &List) -> String {
        self.watch.set_links(list.entities());
        self.cursor.clone_from(&list.cursor);
        frame("snapshot", None, &list.json())
    }
}

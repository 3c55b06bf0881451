//! Pages that keep themselves up to date: a stream of fragments (`text/event-stream`), of which the script puts in what has changed.
//!
//! A fragment holds sections with ids, never a form. It is rendered by the function that renders them in the page.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::Markup;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::Console;
use super::fault::Fault;

/// Maximum number of streams at the same time.
pub(super) const MAX_STREAMS: usize = 100;
/// How often fragments are rendered.
const INTERVAL: Duration = Duration::from_secs(2);
/// A stream ends after this time. The script opens another one, for which the user has to be known again.
const MAX_AGE: Duration = Duration::from_secs(300);
/// After how many intervals without a change a comment is sent, which shows whether the browser is still there.
const SILENT_INTERVALS: u32 = 7;
/// Tells nginx to pass each fragment on at once.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// A stream of what `render` renders, now and whenever that has changed.
pub(super) fn fragments<F>(console: &Arc<Console>, render: impl Fn() -> F + Send + 'static) -> Result<Response, Fault>
where
    F: Future<Output = Markup> + Send,
{
    let place = Arc::clone(&console.streams).try_acquire_owned().map_err(|_| Fault::Busy)?;
    let first = Fragments {
        console: Arc::clone(console),
        render,
        sent: String::new(),
        ends: Instant::now() + MAX_AGE,
        _place: place,
    };
    let frames = stream::unfold(first, async |mut fragments| {
        let frame = fragments.next().await?;
        Some((Ok::<_, Infallible>(frame), fragments))
    });
    Ok(([(CONTENT_TYPE, "text/event-stream")], [NO_BUFFERING], Body::from_stream(frames)).into_response())
}

struct Fragments<R> {
    console: Arc<Console>,
    render: R,
    /// The last fragment.
    sent: String,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

impl<R, F> Fragments<R>
where
    R: Fn() -> F,
    F: Future<Output = Markup>,
{
    /// Waits for the next frame. `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        for _ in 0..SILENT_INTERVALS {
            if !self.sent.is_empty() {
                self.console.stop.run_until_cancelled(sleep(INTERVAL)).await?;
            }
            if Instant::now() >= self.ends || self.console.stop.is_cancelled() {
                return None;
            }
            let fragment = (self.render)().await.into_string();
            if fragment != self.sent {
                self.sent = fragment;
                return Some(frame(&self.sent));
            }
        }
        Some(": nothing has changed\n\n".to_owned())
    }
}

/// A frame of data. A line break ends a field; the browser puts the lines together again.
fn frame(fragment: &str) -> String {
    let lines: Vec<String> = fragment.lines().map(|line| format!("data: {line}\n")).collect();
    format!("retry: 3000\n{}\n", lines.concat())
}

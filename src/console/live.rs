//! Pages that keep themselves up to date: a stream of fragments (`text/event-stream`), of which the script puts in what has changed.
//!
//! A fragment holds sections with ids, never a form. It is rendered by the function that renders them in the page. One more section,
//! which is empty while the stream is healthy, says since when the others are not up to date.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::stream;
use maud::{Markup, html};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::Console;
use super::fault::Fault;
use super::sessions::SessionKey;
use super::visit::Visit;

/// Maximum number of streams at the same time.
pub(super) const MAX_STREAMS: usize = 100;
/// How often fragments are rendered.
const INTERVAL: Duration = Duration::from_secs(2);
/// A stream ends after this time, and with the session. The script opens another one, for which the user has to be known again.
const MAX_AGE: Duration = Duration::from_secs(300);
/// After how many intervals without a change a sign of life is sent: it shows whether the browser is still there, and tells the script
/// that the console is.
const SILENT_INTERVALS: u32 = 7;
const SIGN_OF_LIFE: &str = "event: alive\ndata: yes\n\n";
/// Tells nginx to pass each fragment on at once.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// A stream of what `render` renders, now and whenever that has changed, for as long as the visitor is logged in.
pub(super) fn fragments<F>(
    console: &Arc<Console>,
    visit: &Visit,
    render: impl Fn() -> F + Send + 'static,
) -> Result<Response, Fault>
where
    F: Future<Output = Result<Markup, Fault>> + Send,
{
    let place = Arc::clone(&console.streams).try_acquire_owned().map_err(|_| Fault::Busy)?;
    let first = Fragments {
        console: Arc::clone(console),
        session: visit.session,
        render,
        step: Step::First,
        sent: String::new(),
        rendered_at: Utc::now(),
        ends: Instant::now() + MAX_AGE,
        _place: place,
    };
    let frames = stream::unfold(first, async |mut fragments| {
        let frame = fragments.next().await?;
        Some((Ok::<_, Infallible>(frame), fragments))
    });
    Ok(([(CONTENT_TYPE, "text/event-stream")], [NO_BUFFERING], Body::from_stream(frames)).into_response())
}

/// The section that says that the others are not up to date, and why; empty if they are.
pub(super) fn outdated(since: Option<(DateTime<Utc>, &Fault)>) -> Markup {
    html! {
        section #outdated aria-live="polite" {
            @if let Some((since, fault)) = since {
                p.notice.bad { "Not up to date since " (since.format("%H:%M:%S")) ". " (fault.parts().1) "." }
            }
        }
    }
}

/// Whether a frame is the first one, which does not wait.
#[derive(PartialEq, Eq)]
enum Step {
    First,
    Later,
}

struct Fragments<R> {
    console: Arc<Console>,
    session: Option<SessionKey>,
    render: R,
    step: Step,
    /// The last fragment.
    sent: String,
    /// When the sections were rendered last without a fault.
    rendered_at: DateTime<Utc>,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

impl<R, F> Fragments<R>
where
    R: Fn() -> F,
    F: Future<Output = Result<Markup, Fault>>,
{
    /// Waits for the next frame. `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        for _ in 0..SILENT_INTERVALS {
            if std::mem::replace(&mut self.step, Step::Later) == Step::Later {
                self.console.stop.run_until_cancelled(sleep(INTERVAL)).await?;
            }
            let has_session = self.session.is_none_or(|key| self.console.sessions.is_open(key));
            if Instant::now() >= self.ends || self.console.stop.is_cancelled() || !has_session {
                return None;
            }
            let fragment = match (self.render)().await {
                Ok(sections) => {
                    self.rendered_at = Utc::now();
                    html! { (outdated(None)) (sections) }.into_string()
                }
                Err(fault) => outdated(Some((self.rendered_at, &fault))).into_string(),
            };
            if fragment != self.sent {
                self.sent = fragment;
                return Some(frame(&self.sent));
            }
        }
        Some(SIGN_OF_LIFE.to_owned())
    }
}

/// A frame of data. A line break ends a field; the browser puts the lines together again.
fn frame(fragment: &str) -> String {
    let lines: Vec<String> = fragment.lines().map(|line| format!("data: {line}\n")).collect();
    format!("retry: 3000\n{}\n", lines.concat())
}

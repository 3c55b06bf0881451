//! Posts webhooks, as Lean does: signed, with a deadline for the answer, and again on the timetable unless the answer is 200.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::deliveries::Answer;
use super::queue::{Next, Post};
use super::state::Shared;
use crate::domain::signature::HEADER;

/// Maximum number of posts in progress.
const MAX_CONCURRENT: usize = 32;
/// How long a post holds back the next one, so that webhooks arrive in order as long as each is answered this fast.
const IN_ORDER: Duration = Duration::from_secs(1);

/// Posts what becomes due, until the simulator stops.
pub(super) struct Deliverer {
    shared: Arc<Shared>,
    posts: TaskTracker,
    permits: Arc<Semaphore>,
    /// Whether the last post was refused. The log gets a line only when this changes.
    is_refused: Arc<AtomicBool>,
}

impl Deliverer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT));
        Self { shared, posts: TaskTracker::new(), permits, is_refused: Arc::default() }
    }

    /// Runs steps until the simulator stops, then waits for the posts in progress.
    pub(super) async fn run(self) {
        while self.shared.stop.run_until_cancelled(self.step()).await.is_some() {}
        self.posts.close();
        self.posts.wait().await;
    }

    /// Waits until a post is due, and makes it.
    async fn step(&self) {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
        let post = self.next().await;
        let (shared, is_refused) = (Arc::clone(&self.shared), Arc::clone(&self.is_refused));
        let posting = self.posts.spawn(async move {
            let _permit = permit;
            let posted = Instant::now();
            let answer = match send(&shared, &post).await {
                Ok(()) => {
                    is_refused.store(false, Ordering::Relaxed);
                    Answer::Accepted
                }
                Err(cause) => {
                    if !is_refused.swap(true, Ordering::Relaxed) {
                        warn!(event.id = %post.webhook.event_id, cause, "webhooks are not accepted; each is posted again on the timetable");
                    }
                    Answer::Refused
                }
            };
            shared.state().deliveries.settle(post, posted, answer, Instant::now());
            shared.changed.notify_one();
        });
        let _ = timeout(IN_ORDER, posting).await;
    }

    /// Takes the next post once it is due.
    async fn next(&self) -> Post {
        loop {
            let next = self.shared.state().deliveries.next(Instant::now());
            match next {
                Next::Post(post) => return post,
                Next::At(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.shared.changed.notified() => {}
                },
                Next::Nothing => self.shared.changed.notified().await,
            }
        }
    }
}

/// Posts a webhook. Fails with the reason unless it is answered with 200.
async fn send(shared: &Shared, post: &Post) -> Result<(), String> {
    let body = post.webhook.body.clone();
    let signature = shared.settings.keys.sign(&body).unwrap_or_default();
    let request = shared.http.post(shared.settings.webhook_url.clone()).header(HEADER, signature);
    let request =
        request.header("content-type", "application/json").timeout(shared.settings.answer_deadline).body(body);
    match request.send().await {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("answered {}", response.status())),
        Err(error) => Err(format!("{:#}", anyhow!(error.without_url()))),
    }
}

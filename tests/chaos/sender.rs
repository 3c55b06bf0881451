//! Posts the load as Lean would: signed, at a steady rate, to any ingress, and again while the outcome is unknown. One webhook in four
//! is never posted again, so that the judge has to do without its outcome.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use testkit::SECRET;
use testkit::fixtures::signature;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ledger::{Answer, Post};
use crate::load::{Fate, Load, Webhook};
use crate::rng::Rng;
use crate::testbed::Testbed;

const MAX_CONCURRENT_POSTS: usize = 64;
/// How many webhooks may wait for their next post before the sender draws no new ones.
const MAX_UNANSWERED: usize = 5_000;
const POST_TIMEOUT: Duration = Duration::from_secs(6);
const REPOST_DELAY: Duration = Duration::from_secs(2);
/// How long after the end of the load webhooks are still posted again.
const REPOST_PERIOD: Duration = Duration::from_secs(45);

/// Posts new webhooks until `stop`, then only those that are not answered yet.
pub(crate) async fn run(testbed: Arc<Testbed>, mut rng: Rng, rate: u32, stop: CancellationToken) {
    let mut load = Load::new(rng.clone());
    let mut tasks = JoinSet::new();
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_POSTS));
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= MAX_UNANSWERED || testbed.load_paused.load(Ordering::Relaxed) {
            continue;
        }
        let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&permits).acquire_owned()).await else { break };
        let (webhook, testbed, permits) = (load.draw(), Arc::clone(&testbed), Arc::clone(&permits));
        let gives_up = rng.percent(25);
        let rng = rng.fork();
        tasks.spawn(async move {
            let answered = post(&testbed, &webhook, rng.clone()).await;
            drop(permit);
            if !answered && !gives_up {
                post_again(&testbed, &webhook, rng, &permits).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Posts until there is a clear answer or the run is over.
async fn post_again(testbed: &Testbed, webhook: &Arc<Webhook>, mut rng: Rng, permits: &Semaphore) {
    loop {
        sleep(REPOST_DELAY).await;
        if testbed.load_ended.get().is_some_and(|ended| ended.elapsed() > REPOST_PERIOD) {
            return;
        }
        let Ok(_permit) = permits.acquire().await else { return };
        if post(testbed, webhook, rng.fork()).await {
            return;
        }
    }
}

/// Posts once and records the answer. Returns false if the outcome is unknown.
pub(crate) async fn post(testbed: &Testbed, webhook: &Arc<Webhook>, mut rng: Rng) -> bool {
    let urls = testbed.fleet.urls();
    if urls.is_empty() {
        return false;
    }
    let started = Instant::now();
    let request = testbed.http.post(rng.choose(&urls)).timeout(POST_TIMEOUT).body(webhook.body.clone());
    let secret = match (webhook.fate, rng.percent(50)) {
        (Fate::Rejected, true) => None,
        (Fate::Rejected, false) => Some("another-secret"),
        _ => Some(SECRET),
    };
    let request = match secret {
        Some(secret) => request.header("lean-signature", signature(secret, &webhook.body)),
        None => request,
    };
    let answer = match request.send().await {
        Ok(response) => match response.status().as_u16() {
            200 => message_id(response).await.map_or(Answer::Unknown, Answer::Accepted),
            503 => Answer::Unknown,
            status => Answer::Rejected(status),
        },
        Err(_) => Answer::Unknown,
    };
    testbed.ledger.record(Post { webhook: Arc::clone(webhook), started, ended: Instant::now(), answer });
    answer != Answer::Unknown
}

async fn message_id(response: reqwest::Response) -> Option<Uuid> {
    let body: Value = serde_json::from_slice(&response.bytes().await.ok()?).ok()?;
    Uuid::parse_str(body["message_id"].as_str()?).ok()
}

/// Returns the URLs of ingresses that accept nothing in any of `attempts`, one second apart. The webhook that is posted to them is of
/// an ignored type, so it leaves no trace.
pub(crate) async fn unavailable_ingresses(testbed: &Testbed, attempts: u32) -> Vec<String> {
    let body = r#"{"type":"something.new"}"#;
    let accepts = async |url: &String| {
        let post = testbed.http.post(url).timeout(POST_TIMEOUT).body(body);
        let answer = post.header("lean-signature", signature(SECRET, body.as_bytes())).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    let mut unavailable = testbed.fleet.urls();
    for _ in 0..attempts {
        let mut remaining = Vec::new();
        for url in unavailable {
            if !accepts(&url).await {
                remaining.push(url);
            }
        }
        unavailable = remaining;
        if unavailable.is_empty() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    unavailable
}

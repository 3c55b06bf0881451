//! Waits until the system is idle, collects the evidence and passes it to the judge.

use std::time::Duration;

use entity::{bank_link, dead_letter, outbox_event};
use sea_orm::{EntityTrait, PaginatorTrait};
use tokio::time::{Instant, sleep, sleep_until};

use crate::evidence::Evidence;
use crate::judge::judge;
use crate::judge_queues;
use crate::row_images;
use crate::scenario::{Length, Scenario};
use crate::settings::NAMESPACE;
use crate::testbed::Testbed;
use crate::verdict::Verdict;

/// How long no message may be seen until the system counts as idle. RabbitMQ refreshes the message counts of a quorum queue
/// every 5 s.
const IDLE_PERIOD: Duration = Duration::from_secs(11);
const POLL_INTERVAL: Duration = Duration::from_secs(4);

/// Judges once the system is idle. A full run is judged no earlier than `judge_after` the last fault, when RabbitMQ cannot hold a
/// message unseen any more. A quick run is judged as soon as the verdict is good, and then at the latest.
pub(crate) async fn judge_when_idle(
    testbed: &Testbed,
    judge_after: Duration,
    length: Length,
) -> anyhow::Result<Verdict> {
    let judged_from = testbed.last_fault() + judge_after;
    if length == Length::Full {
        sleep_until(judged_from).await;
    }
    let deadline = judged_from.max(Instant::now() + IDLE_PERIOD * 4);
    let mut evidence = Evidence { may_defer: testbed.scenario != Scenario::Sqlite, ..Evidence::default() };
    loop {
        let pending = wait_until_idle(testbed, deadline).await;
        collect(testbed, &mut evidence).await?;
        let mut verdict = judge(&evidence);
        if let Some(pending) = pending {
            verdict.add(format!("not idle {judge_after:?} after the last fault: {pending}"));
        }
        if verdict.is_good() || Instant::now() > deadline {
            return Ok(verdict);
        }
        testbed.log(&format!("not good yet: {}", verdict.findings[0]));
    }
}

/// Returns what is still pending at the deadline, if anything is.
async fn wait_until_idle(testbed: &Testbed, deadline: Instant) -> Option<String> {
    let mut idle_since: Option<Instant> = None;
    loop {
        let pending = pending_work(testbed).await.unwrap_or_else(|error| Some(format!("cannot be read: {error}")));
        match pending {
            None if idle_since.is_some_and(|since| since.elapsed() > IDLE_PERIOD) => return None,
            None => idle_since = idle_since.or(Some(Instant::now())),
            Some(pending) if Instant::now() > deadline => return Some(pending),
            Some(_) => idle_since = None,
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Describes events in the outbox or messages on a queue, if there are any.
async fn pending_work(testbed: &Testbed) -> anyhow::Result<Option<String>> {
    let events = outbox_event::Entity::find().count(&testbed.database().await?).await?;
    if events > 0 {
        return Ok(Some(format!("{events} events in the outbox")));
    }
    // `messages` counts ready and unacknowledged messages, and those that RabbitMQ holds on the way to a dead-letter exchange.
    let queues = testbed.list_queues(&["name", "messages"]).await?;
    let busy = queues.iter().find(|queue| {
        let name = queue["name"].as_str().unwrap_or_default();
        name.starts_with(&format!("{NAMESPACE}.webhooks")) && queue["messages"] != 0
    });
    Ok(busy.map(ToString::to_string))
}

/// Reads everything anew, and adds what has arrived on the judge's queues.
async fn collect(testbed: &Testbed, evidence: &mut Evidence) -> anyhow::Result<()> {
    judge_queues::drain(testbed.amqp_url(), evidence).await?;
    let database = testbed.database().await?;
    evidence.posts = testbed.ledger.posts();
    evidence.rows = bank_link::Entity::find().all(&database).await?;
    evidence.letters = dead_letter::Entity::find().all(&database).await?;
    evidence.images = row_images::read_all(&database).await?;
    evidence.queue_deletions = testbed.queue_deletions.lock().expect("not poisoned").clone();
    Ok(())
}

//! Posts the load as Lean would: signed, at a steady rate, to any ingress, and again when the answer was not 200. One time
//! in four it gives up instead, so that the judge has to do without knowing what became of a webhook.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::SECRET;
use crate::chance::Chance;
use crate::fixtures;
use crate::ledger::{Answer, Post};
use crate::load::{Fate, Load, Webhook};
use crate::world::World;

/// Posts at a time, at most.
const AT_ONCE: usize = 64;
/// Webhooks that wait to be posted again, at most.
const WAITING: usize = 5_000;
const ANSWER_DEADLINE: Duration = Duration::from_secs(6);
const BEFORE_THE_NEXT_TRY: Duration = Duration::from_secs(2);
/// How long after the end of the load a webhook is still posted again.
const LAST_TRIES: Duration = Duration::from_secs(45);

/// Posts until `stop`, then goes on only with what was not accepted yet.
pub(crate) async fn run(world: Arc<World>, seed: Chance, rate: u32, stop: CancellationToken) {
    let (mut chance, mut posts) = (seed.clone(), JoinSet::new());
    let mut load = Load::new(seed);
    let lines = Arc::new(Semaphore::new(AT_ONCE));
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        while posts.try_join_next().is_some() {}
        if posts.len() >= WAITING || world.is_held() {
            continue;
        }
        let Some(Ok(line)) = stop.run_until_cancelled(Arc::clone(&lines).acquire_owned()).await else { break };
        let (webhook, world, lines) = (load.draw(), Arc::clone(&world), Arc::clone(&lines));
        let gives_up = chance.percent(25);
        let chance = chance.fork();
        posts.spawn(async move {
            let settled = post(&world, &webhook, chance.clone()).await;
            drop(line);
            if !settled && !gives_up {
                post_again(&world, &webhook, chance, &lines).await;
            }
        });
    }
    while posts.join_next().await.is_some() {}
}

/// The ingresses that take nothing in within `tries` seconds, though nothing is wrong any more. What they are asked to take is
/// none of banklink's business, and leaves no trace.
pub(crate) async fn refusing(world: &World, tries: u32) -> Vec<String> {
    let body = r#"{"type":"something.new"}"#;
    let takes = async |url: &String| {
        let post = world.http.post(url).timeout(ANSWER_DEADLINE).body(body);
        let answer = post.header("lean-signature", fixtures::signature(SECRET, body.as_bytes())).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    let mut refusing = world.fleet.urls();
    for _ in 0..tries {
        let mut still = Vec::new();
        for url in refusing {
            if !takes(&url).await {
                still.push(url);
            }
        }
        refusing = still;
        if refusing.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    refusing
}

/// Until it is accepted or refused, or the run is over.
async fn post_again(world: &World, webhook: &Arc<Webhook>, mut chance: Chance, lines: &Semaphore) {
    loop {
        tokio::time::sleep(BEFORE_THE_NEXT_TRY).await;
        if world.load_ended().is_some_and(|ended| ended.elapsed() > LAST_TRIES) {
            return;
        }
        let Ok(_line) = lines.acquire().await else { return };
        if post(world, webhook, chance.fork()).await {
            return;
        }
    }
}

/// Posts once, and notes what came of it; false if that is not known.
pub(crate) async fn post(world: &World, webhook: &Arc<Webhook>, mut chance: Chance) -> bool {
    let urls = world.fleet.urls();
    if urls.is_empty() {
        return false;
    }
    let began = Instant::now();
    let request = world.http.post(chance.pick(&urls)).timeout(ANSWER_DEADLINE).body(webhook.body.clone());
    let request = match (webhook.fate, chance.percent(50)) {
        (Fate::Refused, true) => request,
        (Fate::Refused, false) => {
            request.header("lean-signature", fixtures::signature("another-secret", &webhook.body))
        }
        _ => request.header("lean-signature", fixtures::signature(SECRET, &webhook.body)),
    };
    let answer = match request.send().await {
        Ok(response) => match response.status().as_u16() {
            200 => accepted(response).await.map_or(Answer::Unknown, Answer::Accepted),
            503 => Answer::Unknown,
            status => Answer::Refused(status),
        },
        Err(_) => Answer::Unknown,
    };
    world.ledger.note(Post { webhook: Arc::clone(webhook), began, ended: Instant::now(), answer });
    answer != Answer::Unknown
}

async fn accepted(response: reqwest::Response) -> Option<Uuid> {
    let body: Value = serde_json::from_slice(&response.bytes().await.ok()?).ok()?;
    Uuid::parse_str(body["message_id"].as_str()?).ok()
}

//! Replays as objects: they outlive the process that made them, and any number of processes may meet at one.

mod canaries;
mod commands;
mod decisions;
mod interruptions;
mod kills;
mod pages;
mod takeover;

use std::time::Duration;

use banklink::dead_letters::{OnPublishFailure, ReplayEnd, ReplayWorker, Taken, TakenReplay, WorkOptions};
use banklink::store::letters::{Filter, select_dead};
use banklink::store::replays::{NewReplay, Replay};
use serde_json::{Value, json};
use testkit::app::insert_dead_letters;
use testkit::process::Invocation;
use testkit::{TestApp, fixtures};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const EXPIRE_LEASES: &str = "UPDATE leases SET expires_at = '2020-01-01T00:00:00+00:00'";
const EXPIRE_CLAIMS: &str =
    "UPDATE dead_letters SET claimed_until = '2020-01-01T00:00:00+00:00' WHERE claimed_until IS NOT NULL";

/// `banklink dead-letters replays`, configured for `app`.
fn replays(app: &TestApp, arguments: &[&str]) -> Invocation {
    app.command(&[&["dead-letters", "replays"], arguments].concat()).env("USER", "operator")
}

/// What `replays show` says about a replay.
async fn show(app: &TestApp, id: i64) -> Value {
    let shown = replays(app, &["show", &id.to_string(), "--json"]).run().await;
    assert_eq!(shown.code, 0, "{shown:?}");
    serde_json::from_str(&shown.stdout).unwrap()
}

/// The last object of an output: the totals.
fn totals(output: &str) -> Value {
    let mut objects = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let totals = objects.rfind(|object| object.get("selected").is_some());
    totals.unwrap_or_else(|| panic!("no totals: {output}"))
}

/// Dead letters that each link a bank, in the order of their deaths.
async fn good_letters(app: &TestApp, letters: usize) {
    let bodies = (0..letters).map(|_| fixtures::created(Uuid::new_v4()));
    insert_dead_letters(&app.store.connection(), bodies).await;
}

/// Dead letters that die again at once.
async fn bad_letters(app: &TestApp, letters: usize) {
    let bodies = (0..letters).map(|number| json!({ "number": number }));
    insert_dead_letters(&app.store.connection(), bodies).await;
}

/// Works on replays of `app` in the test's process. Drop it before the app.
async fn worker(app: &TestApp) -> ReplayWorker {
    ReplayWorker { store: app.store.clone(), publisher: app.publisher().await }
}

/// A replay of everything that is dead, taken by this process.
async fn create(worker: &ReplayWorker, change: impl FnOnce(NewReplay) -> NewReplay) -> TakenReplay {
    let selected = select_dead(&worker.store, &Filter::default()).await.unwrap();
    let new = NewReplay { by: "anna".to_owned(), selection: "{}".to_owned(), ..NewReplay::default() };
    worker.create(&change(new), &selected).await.unwrap()
}

/// A replay of everything that is dead, made by a process that was killed before it did anything.
async fn abandoned(app: &TestApp, worker: &ReplayWorker, change: impl FnOnce(NewReplay) -> NewReplay) -> i64 {
    let id = create(worker, change).await.replay().id;
    app.sql(EXPIRE_LEASES, EXPIRE_LEASES).await;
    id
}

/// Takes a replay that can be taken.
async fn take(worker: &ReplayWorker, id: i64, resumed_by: Option<&str>) -> TakenReplay {
    match worker.take(id, resumed_by).await.unwrap() {
        Taken::Taken(taken) => *taken,
        Taken::HeldBy(holder) => panic!("{holder} works on it"),
        Taken::Ended(replay) | Taken::NotRunning(replay) => panic!("it is {}", replay.state),
        Taken::Missing => panic!("it does not exist"),
    }
}

fn options(wait: Duration) -> WorkOptions {
    WorkOptions {
        canary_wait: wait,
        wait,
        on_publish_failure: OnPublishFailure::Stop,
        by: "anna".to_owned(),
        pause: CancellationToken::new(),
        hand_over: CancellationToken::new(),
    }
}

/// Works on a replay to its end, with time for every outcome.
async fn work(worker: &ReplayWorker, taken: TakenReplay) -> (Replay, ReplayEnd) {
    worker.work(taken, &options(Duration::from_secs(60)), &mut |_| ()).await.unwrap()
}

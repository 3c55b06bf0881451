//! SIGKILL for the process that works on a replay, in the middle of it: the command, and its worker; or the console.

use serde_json::json;
use testkit::app::console::Person;
use testkit::process::until_answers;
use testkit::waiting::until;
use testkit::{On, TestApp};

use super::{EXPIRE_CLAIMS, EXPIRE_LEASES, good_letters, replays, show, totals};

const LETTERS: usize = 5_000;

async fn assert_each_was_resolved_once(app: &TestApp) {
    assert!(app.replay_letters().await.iter().all(|letter| letter.outcome.is_some()), "every letter has an outcome");
    assert!(app.dead_letters().await.iter().all(|letter| letter.state == "resolved"));
    let resolutions = app.history().await.iter().filter(|entry| entry.action == "resolved").count();
    assert_eq!(resolutions, LETTERS, "each letter was resolved once");
    assert_eq!(app.bank_links().await.len(), LETTERS);
    assert_eq!(app.outbox().await.len(), LETTERS, "one event for each link");
}

/// Waits until outcomes of the only replay are known.
async fn until_some_outcomes(app: &TestApp) {
    until("some outcomes", async || app.replays().await.first().is_some_and(|replay| replay.applied > 500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_command_and_worker_were_killed_ends_with_every_letter_resolved_once() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    good_letters(&app, LETTERS).await;
    let mut worker = app.role("worker").start();
    until_answers(&worker.admin().await, "/readyz", 200).await;
    let replay = ["dead-letters", "replay", "--class", "panicked", "--yes", "--rate", "1000/s"];
    let mut replay = app.command(&replay).start();
    until_some_outcomes(&app).await;
    worker.kill().await;
    replay.kill().await;
    let killed = app.replays().await.remove(0);
    let id = killed.id;
    assert!(killed.state == "running" && killed.replayed < 5_000, "in the middle: {killed:?}");

    let mut worker = app.role("worker").start();
    // However long the start takes.
    app.sql("", "UPDATE leases SET expires_at = now() + interval '50 s'").await;
    let held = replays(&app, &["resume", &id.to_string()]).run().await;
    assert!(held.code == 1 && held.stderr.contains(&format!("works on replay {id}")), "{held:?}");
    app.sql("", EXPIRE_LEASES).await;
    app.sql("", EXPIRE_CLAIMS).await;
    app.sql("", "UPDATE replays SET rate = NULL").await;
    let resumed = replays(&app, &["resume", &id.to_string(), "--json"]).run().await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    let expected = json!({
        "selected": LETTERS, "replayed": LETTERS, "skipped": 0, "applied": totals(&resumed.stdout)["applied"],
        "stale": totals(&resumed.stdout)["stale"], "ignored": 0, "dead": 0, "under_way": 0, "replay": id,
    });
    assert_eq!(totals(&resumed.stdout), expected);
    let shown = show(&app, id).await;
    let resolved = shown["applied"].as_u64().unwrap() + shown["stale"].as_u64().unwrap();
    assert_eq!((&shown["state"], resolved), (&json!("done"), LETTERS as u64), "{shown}");
    assert_each_was_resolved_once(&app).await;
    assert_eq!(worker.terminate().await, 0);
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_console_was_killed_goes_on_in_another_one_and_every_outcome_is_recorded() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    good_letters(&app, LETTERS).await;
    app.start_worker();
    let console = || app.command(&["run", "console"]).env("USER", "anna").on_free_ports().start();
    let mut killed = console();
    let anna = Person::at_process(&killed).await;
    let plan = anna.post("/replays/new", &[("scope", "all")]).await;
    let started = anna.submit(&plan, "/replays", &[("rate", "1000"), ("reason", "deploy 42 is undone")]).await;
    assert_eq!(started.status, 303, "{}", started.text);
    until_some_outcomes(&app).await;
    killed.kill().await;
    let replay = app.replays().await.remove(0);
    assert!(replay.state == "running" && replay.replayed < 5_000, "in the middle: {replay:?}");

    let mut other = console();
    for sql in [EXPIRE_LEASES, EXPIRE_CLAIMS, "UPDATE replays SET rate = NULL"] {
        app.sql("", sql).await;
    }
    until("the end of the replay", async || app.replays().await[0].state == "done").await;
    let replays = app.replays().await;
    let [replay] = replays.as_slice() else { panic!("{replays:?}") };
    assert_eq!((replay.replayed, replay.applied + replay.stale, replay.dead), (5_000, 5_000, 0));
    assert_each_was_resolved_once(&app).await;
    // Only what was claimed and perhaps not published when the console was killed was replayed again.
    let again = app.dead_letters().await.iter().filter(|letter| letter.replays > 1).count();
    assert!(again <= 1_000, "{again} were replayed twice");
    let page = Person::at_process(&other).await.get(started.header("location")).await.page();
    assert!(page.contains("5\u{202f}000 of 5\u{202f}000 letters have ended"), "{page}");
    assert_eq!(other.terminate().await, 0, "{}", other.log());
    app.finish_with_leftovers().await;
}

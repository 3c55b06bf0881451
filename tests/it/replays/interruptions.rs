//! A replay that is paused, cancelled or left, by its own process or by another one.

use serde_json::json;
use testkit::process::Running;
use testkit::waiting::until;
use testkit::{On, TestApp};

use super::{good_letters, replays, show, totals};

/// Starts a replay of 200 letters at a low rate, and waits until some are replayed. Nothing resolves them yet.
async fn slow_replay(app: &TestApp) -> (Running, i64) {
    good_letters(app, 200).await;
    let replay = ["dead-letters", "replay", "--class", "panicked", "--yes", "--json", "--rate", "8/s"];
    let running = app.command(&replay).start();
    until("some replayed letters", async || replayed(app).await >= 4).await;
    let id = app.replays().await[0].id;
    (running, id)
}

/// The number of letters that were replayed.
async fn replayed(app: &TestApp) -> usize {
    app.dead_letters().await.iter().filter(|letter| letter.replays > 0).count()
}

/// Speeds the replay up, starts a worker, resumes the replay, and checks that each letter was replayed once.
async fn resume_to_the_end(app: &TestApp, id: i64) {
    app.sql("UPDATE replays SET rate = NULL", "UPDATE replays SET rate = NULL").await;
    app.start_worker();
    let resumed = replays(app, &["resume", &id.to_string(), "--json", "--by", "carla"]).run().await;
    assert_eq!((resumed.code, &totals(&resumed.stdout)["applied"]), (0, &json!(200)), "{resumed:?}");
    assert!(app.dead_letters().await.iter().all(|letter| letter.state == "resolved" && letter.replays == 1));
    let shown = show(app, id).await;
    assert_eq!((&shown["state"], &shown["applied"]), (&json!("done"), &json!(200)));
    app.until_outbox_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_is_paused_and_says_how_to_resume_it() {
    let app = TestApp::builder(On::Postgres).workers(0).unsubscribed().build().await;
    let (mut running, id) = slow_replay(&app).await;
    assert_eq!(running.interrupt().await, 1);
    let log = running.log();
    assert!(log.contains(&format!("banklink dead-letters replays resume {id}")), "{log}");
    let shown = show(&app, id).await;
    assert_eq!((&shown["state"], &shown["worked_on_by"]), (&json!("paused"), &json!(null)));
    assert_eq!(shown["replayed"], json!(replayed(&app).await), "every claimed letter is counted");
    assert!(app.dead_letters().await.iter().all(|letter| letter.claimed_until.is_none()), "no claim is pending");
    resume_to_the_end(&app, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_terminal_was_closed_stays_running_for_another_process() {
    let app = TestApp::builder(On::Sqlite).workers(0).unsubscribed().build().await;
    let (mut running, id) = slow_replay(&app).await;
    running.signal("HUP").await;
    assert_eq!(running.ended().await, 1);
    let shown = show(&app, id).await;
    assert_eq!((&shown["state"], &shown["worked_on_by"]), (&json!("running"), &json!(null)), "{}", running.log());
    resume_to_the_end(&app, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_pauses_a_replay_and_resumes_it() {
    let app = TestApp::builder(On::Postgres).workers(0).unsubscribed().build().await;
    let (mut running, id) = slow_replay(&app).await;
    let held = replays(&app, &["resume", &id.to_string()]).run().await;
    let works = format!("process {} on ", running.pid());
    assert!(held.code == 1 && held.stderr.contains(&works), "one process at a time: {held:?}");
    assert!(show(&app, id).await["worked_on_by"].as_str().unwrap().starts_with(&works));

    assert_eq!(replays(&app, &["pause", &id.to_string(), "--by", "berta"]).run().await.code, 0);
    let paused = replayed(&app).await;
    assert_eq!(running.ended().await, 1);
    assert!(running.log().contains("was paused by berta"), "{}", running.log());
    assert_eq!(replayed(&app).await, paused, "no letter is claimed after the pause");
    assert!(paused < 200);
    resume_to_the_end(&app, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_replay_leaves_the_others_dead_and_still_counts_what_was_under_way() {
    let app = TestApp::builder(On::Sqlite).workers(0).unsubscribed().build().await;
    let (mut running, id) = slow_replay(&app).await;
    assert_eq!(replays(&app, &["cancel", &id.to_string(), "--by", "berta"]).run().await.code, 0);
    assert_eq!(running.ended().await, 1);
    assert!(running.log().contains("is cancelled (by berta)"), "{}", running.log());
    let replayed = replayed(&app).await;
    app.start_worker();
    app.until_links(replayed).await;
    app.until_outbox_is_empty().await;
    let shown = show(&app, id).await;
    assert_eq!((&shown["state"], &shown["applied"]), (&json!("cancelled"), &json!(replayed)));
    let dead = app.dead_letters().await.iter().filter(|letter| letter.state == "dead").count();
    assert_eq!(dead, 200 - replayed);
}

//! Canaries, the stop on failures and the rate: they follow from the database, whichever process works on the replay.

use std::time::Instant;

use banklink::dead_letters::ReplayEnd;
use banklink::store::replays::{Claimed, NewReplay, Part, claim};
use rstest::rstest;
use serde_json::json;
use testkit::{On, TestApp};

use super::{EXPIRE_LEASES, abandoned, bad_letters, create, good_letters, replays, show, take, totals, work, worker};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_canary_stops_a_replay_and_resuming_it_replays_the_others(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    bad_letters(&app, 1).await;
    good_letters(&app, 4).await;
    let replay = ["dead-letters", "replay", "--class", "panicked", "--yes", "--json", "--canary", "2"];
    let stopped = app.command(&replay).run().await;
    let id = totals(&stopped.stdout)["replay"].as_i64().unwrap();
    assert!(stopped.code == 1 && stopped.stderr.contains(&format!("replays resume {id}")), "{stopped:?}");
    let shown = show(&app, id).await;
    assert_eq!((&shown["state"], &shown["replayed"], &shown["dead"]), (&json!("stopped"), &json!(2), &json!(1)));
    assert!(shown["failure"].as_str().unwrap().contains("canary") && shown["ended_at"].is_null(), "{shown}");

    let resumed = replays(&app, &["resume", &id.to_string(), "--json", "--by", "berta"]).run().await;
    assert_eq!(resumed.code, 1, "one letter is dead again: {resumed:?}");
    let shown = show(&app, id).await;
    assert_eq!((&shown["state"], &shown["applied"], &shown["dead"]), (&json!("done"), &json!(4), &json!(1)));
    assert_eq!((&shown["failure"], &shown["changed_by"]), (&json!(null), &json!("berta")));
    let by: Vec<_> = app.history().await.into_iter().filter(|entry| entry.action == "replayed").collect();
    assert_eq!(by.iter().filter(|entry| entry.by.as_deref() == Some("berta")).count(), 3, "{by:?}");
    app.until_outbox_is_empty().await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_failed_while_no_process_worked_stops_the_one_that_takes_over(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    good_letters(&app, 5).await;
    let worker = worker(&app).await;
    let canary = |new: NewReplay| NewReplay { canary: Some(1), ..new };
    let id = create(&worker, canary).await.replay().id;
    let holder: String = testkit::app::lease_holder(&app, &format!("replay:{id}")).await;
    // Killed after it has published the canary, which dies again.
    let claimed = claim(&app.store, id, &holder, Part::Next { positions: 0..1, limit: 10 }).await.unwrap();
    assert!(matches!(claimed, Claimed::Letters(claims, _) if claims.len() == 1));
    let died = "UPDATE dead_letters SET state = 'dead', deaths = 2, claimed_until = NULL WHERE replays = 1";
    app.sql(died, died).await;
    app.sql(EXPIRE_LEASES, EXPIRE_LEASES).await;
    let (replay, end) = work(&worker, take(&worker, id, None).await).await;
    assert!(matches!(end, ReplayEnd::CanaryFailed), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed, replay.dead), ("stopped", 1, 1));
    app.finish_dropping(worker).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_stop_whichever_process_works_and_after_a_resume_only_new_ones_count(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    bad_letters(&app, 4).await;
    good_letters(&app, 4).await;
    let worker = worker(&app).await;
    // Batches of one letter.
    let limits = |new: NewReplay| NewReplay { rate: Some(4), stop_on_failure: Some(10.0), ..new };
    let (replay, end) = work(&worker, create(&worker, limits).await).await;
    assert!(matches!(end, ReplayEnd::TooManyFailures), "{end:?}");
    assert!(replay.state == "stopped" && replay.dead < 4, "{replay:?}");

    // As if the process had been killed before it stopped the replay.
    app.sql("UPDATE replays SET state = 'running'", "UPDATE replays SET state = 'running'").await;
    let (again, end) = work(&worker, take(&worker, replay.id, None).await).await;
    assert!(matches!(end, ReplayEnd::TooManyFailures), "{end:?}");
    assert_eq!((again.state.as_str(), again.replayed), ("stopped", replay.replayed), "nothing more was replayed");

    // The letters that fail are behind it.
    let discard = "UPDATE dead_letters SET state = 'discarded' WHERE state = 'dead' AND event_type IS NULL";
    app.sql(discard, discard).await;
    let (ended, end) = work(&worker, take(&worker, replay.id, Some("berta")).await).await;
    assert!(matches!(end, ReplayEnd::Completed), "{end:?}");
    assert_eq!((ended.state.as_str(), ended.applied), ("done", 4));
    assert_eq!(ended.skipped + ended.dead, 4, "{ended:?}");
    app.finish_dropping(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_takes_over_keeps_the_rate() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    good_letters(&app, 5).await;
    let worker = worker(&app).await;
    let id = abandoned(&app, &worker, |new| NewReplay { rate: Some(1), ..new }).await;
    let begin = Instant::now();
    let (replay, _) = work(&worker, take(&worker, id, None).await).await;
    assert_eq!(replay.applied, 5);
    // One a second: the last one goes 4 s after the first. Without the rate, all of them go together.
    assert!(begin.elapsed().as_millis() >= 4_000, "{:?}", begin.elapsed());
    app.finish_dropping(worker).await;
}

//! Canaries are skipped by no one: they are waited for, or an operator goes on although some have failed, which stays on record.

use std::time::Duration;

use banklink::dead_letters::ReplayEnd;
use banklink::store::replays::{Change, NewReplay, Resume, canaries, replay_history, resume, stop};
use rstest::rstest;
use serde_json::json;
use testkit::{On, TestApp};

use super::{abandoned, bad_letters, create, good_letters, options, show, take, work, worker};

/// A stop that says nothing about the canaries, as when RabbitMQ is blocked.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_resumed_after_another_kind_of_stop_still_waits_for_its_canaries(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    bad_letters(&app, 1).await;
    good_letters(&app, 5).await;
    let worker = worker(&app).await;
    let id = abandoned(&app, &worker, |new| NewReplay { canary: Some(3), ..new }).await;
    stop(&app.store, id, "RabbitMQ is blocked").await.unwrap();
    let refused = resume(&app.store, id, "berta", Resume::Paused).await.unwrap();
    assert!(matches!(refused, Change::Refused(_)), "only one that is paused: {refused:?}");
    resume(&app.store, id, "berta", Resume::Stopped(Some("it works again"))).await.unwrap();
    let replay = app.replays().await.remove(0);
    assert_eq!((replay.state.as_str(), replay.canary_ended_at, replay.canaries_ignored), ("running", None, 0));

    // The first one fails now.
    let (replay, end) = work(&worker, take(&worker, id, None).await).await;
    assert!(matches!(end, ReplayEnd::CanaryFailed), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed, replay.applied), ("stopped", 3, 2));

    let (replay, end) = work(&worker, take(&worker, id, Some("carla")).await).await;
    assert!(matches!(end, ReplayEnd::Completed), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.applied, replay.dead), ("done", 5, 1));
    assert!(replay.canary_ended_at.is_some());
    assert_eq!((replay.canaries_ignored, replay.canaries_ignored_by.as_deref()), (1, Some("carla")));
    let shown = show(&app, id).await;
    assert_eq!((&shown["canaries_ignored"], &shown["canaries_ignored_by"]), (&json!(1), &json!("carla")));
    let history = replay_history(&app.store, id).await.unwrap();
    let details: Vec<_> = history.iter().map(|entry| entry.detail.as_deref().unwrap_or_default()).collect();
    let expected = [
        "6 letters",
        "it had stopped: RabbitMQ is blocked; it works again",
        "it had stopped: not every canary was resolved; 1 of 3 canaries had failed",
    ];
    assert_eq!(details, expected);
    drop(worker);
    app.until_outbox_is_empty().await;
    app.finish().await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn canaries_that_had_not_gone_when_failures_stopped_it_go_before_the_others_and_may_stop_it_again(
    #[case] on: On,
) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    bad_letters(&app, 1).await;
    good_letters(&app, 1).await;
    bad_letters(&app, 1).await;
    good_letters(&app, 3).await;
    let worker = worker(&app).await;
    // Batches of one letter.
    let limits = |new: NewReplay| NewReplay { rate: Some(4), canary: Some(3), stop_on_failure: Some(60.0), ..new };
    let (replay, end) = work(&worker, create(&worker, limits).await).await;
    assert!(matches!(end, ReplayEnd::TooManyFailures), "{end:?}");
    assert_eq!((replay.replayed, replay.dead), (1, 1));
    let (replay, end) = work(&worker, take(&worker, replay.id, Some("berta")).await).await;
    assert!(matches!(end, ReplayEnd::CanaryFailed), "the third one is no failure that berta knew of: {end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed, replay.canaries_ignored), ("stopped", 3, 1));
    let found = canaries(&app.store, &replay).await.unwrap().unwrap();
    assert_eq!((found.resolved, found.failed, found.open), (1, 2, 0));
    let (replay, _) = work(&worker, take(&worker, replay.id, Some("carla")).await).await;
    assert_eq!((replay.state.as_str(), replay.applied, replay.canaries_ignored), ("done", 4, 2));
    drop(worker);
    app.until_outbox_is_empty().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_that_are_under_way_when_the_wait_is_over_have_not_failed() {
    let app = TestApp::builder(On::Sqlite).workers(0).unsubscribed().build().await;
    good_letters(&app, 4).await;
    let worker = worker(&app).await;
    let taken = create(&worker, |new| NewReplay { canary: Some(2), ..new }).await;
    let (replay, end) = worker.work(taken, &options(Duration::ZERO), &mut |_| ()).await.unwrap();
    assert!(matches!(end, ReplayEnd::CanariesUnderWay), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed, replay.failure), ("running", 2, None));
    app.start_worker();
    let (replay, _) = work(&worker, take(&worker, replay.id, None).await).await;
    assert_eq!((replay.state.as_str(), replay.applied, replay.canaries_ignored), ("done", 4, 0));
    assert!(replay.canary_ended_at.is_some());
    drop(worker);
    app.until_outbox_is_empty().await;
    app.finish().await;
}

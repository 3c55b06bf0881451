//! A process goes on with a replay that another one has left, and two replays meet at the same letters.

use std::time::Duration;

use banklink::dead_letters::{ReplayEnd, ReplayRunner};
use banklink::store::replays::{Claimed, Part, Replay, claim, release};
use rstest::rstest;
use serde_json::json;
use testkit::app::lease_holder;
use testkit::waiting::until;
use testkit::{On, TestApp};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    EXPIRE_CLAIMS, EXPIRE_LEASES, abandoned, create, good_letters, options, replays, show, take, work, worker,
};

/// As after a kill between the claim and the publish.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn letters_that_were_claimed_and_not_published_are_claimed_again_and_counted_once(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    good_letters(&app, 10).await;
    let worker = worker(&app).await;
    let id = create(&worker, |new| new).await.replay().id;
    let holder = lease_holder(&app, &format!("replay:{id}")).await;
    let part = || Part::Next { positions: 0..10, limit: 4 };
    let Claimed::Letters(claims, _) = claim(&app.store, id, &holder, part()).await.unwrap() else {
        panic!("no claims")
    };
    assert_eq!(claims.len(), 4);
    app.sql(EXPIRE_LEASES, EXPIRE_LEASES).await;
    app.sql(EXPIRE_CLAIMS, EXPIRE_CLAIMS).await;

    let taken = take(&worker, id, None).await;
    let refused = claim(&app.store, id, &holder, part()).await.unwrap();
    assert!(matches!(refused, Claimed::Refused), "the process that was suspended cannot claim any more");
    // The other process claims one of them again before the suspended one gives up its own claims.
    let other = lease_holder(&app, &format!("replay:{id}")).await;
    let again = claim(&app.store, id, &other, Part::Expired(&[0])).await.unwrap();
    assert!(matches!(again, Claimed::Letters(claims, _) if claims.len() == 1));
    release(&app.store, id, &claims).await.unwrap();
    let claimed: Vec<_> = app.replay_letters().await.iter().map(|letter| letter.claimed).collect();
    assert_eq!(claimed, [vec![Some(2)], vec![None; 9]].concat(), "the claim of the other process stays");
    assert_eq!(app.replays().await[0].replayed, 1);
    app.sql(EXPIRE_CLAIMS, EXPIRE_CLAIMS).await;
    let (replay, end) = work(&worker, taken).await;
    assert!(matches!(end, ReplayEnd::Completed), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed, replay.applied, replay.skipped), ("done", 10, 10, 0));
    let replays: Vec<_> = app.replay_letters().await.iter().map(|letter| letter.claimed).collect();
    assert_eq!(replays, [vec![Some(3)], vec![Some(2); 3], vec![Some(1); 6]].concat());
    app.finish_dropping(worker).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_its_former_process_releases_late_is_replayed_by_the_next_one(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    good_letters(&app, 10).await;
    let worker = worker(&app).await;
    let id = create(&worker, |new| new).await.replay().id;
    let holder = lease_holder(&app, &format!("replay:{id}")).await;
    let first = Part::Next { positions: 0..10, limit: 1 };
    let Claimed::Letters(claims, _) = claim(&app.store, id, &holder, first).await.unwrap() else { panic!("no claim") };
    app.sql(EXPIRE_LEASES, EXPIRE_LEASES).await;
    let taken = take(&worker, id, None).await;
    let mut is_released = false;
    let mut release_once_the_others_have_gone = |replay: &Replay| {
        if replay.replayed == 10 && !is_released {
            is_released = true;
            let release = release(&app.store, id, &claims);
            tokio::task::block_in_place(|| Handle::current().block_on(release)).unwrap();
        }
    };
    let options = options(Duration::from_secs(60));
    let (replay, end) = worker.work(taken, &options, &mut release_once_the_others_have_gone).await.unwrap();
    assert!(is_released && matches!(end, ReplayEnd::Completed), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed, replay.applied), ("done", 10, 10));
    app.finish_dropping(worker).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_another_replay_has_replayed_is_skipped_even_if_it_died_again(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    good_letters(&app, 4).await;
    let worker = worker(&app).await;
    let older = abandoned(&app, &worker, |new| new).await;
    // Two died again in another replay, and the claim of a third has expired without a publish.
    for sql in [
        "UPDATE dead_letters SET replays = 1, deaths = 2 WHERE message_id IN \
         (SELECT message_id FROM replay_letters WHERE position < 2)",
        "UPDATE dead_letters SET replays = 1, state = 'replaying', claimed_until = '2020-01-01T00:00:00+00:00' \
         WHERE message_id IN (SELECT message_id FROM replay_letters WHERE position = 2)",
    ] {
        app.sql(sql, sql).await;
    }
    let (replay, end) = work(&worker, take(&worker, older, None).await).await;
    assert!(matches!(end, ReplayEnd::Completed), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed, replay.applied, replay.skipped), ("done", 1, 1, 3));
    let outcomes: Vec<_> = app.replay_letters().await.into_iter().map(|letter| letter.outcome.unwrap()).collect();
    assert_eq!(outcomes, ["skipped", "skipped", "skipped", "applied"]);

    // A newer replay takes what is dead now.
    let (replay, _) = work(&worker, create(&worker, |new| new).await).await;
    assert_eq!((replay.letters, replay.applied), (3, 3));
    app.finish_dropping(worker).await;
}

/// What the console does for replays that no process works on.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_works_on_every_running_replay_that_no_process_works_on(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let worker = worker(&app).await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        good_letters(&app, 3).await;
        // Each has also the letters of those before, which are still dead.
        ids.push(abandoned(&app, &worker, |new| new).await);
    }
    let paused = ids[0].to_string();
    assert_eq!(replays(&app, &["pause", &paused]).run().await.code, 0);
    good_letters(&app, 3).await;
    let held = create(&worker, |new| new).await;
    let held_id = held.replay().id;

    let mut runner = ReplayRunner::new(worker.clone(), CancellationToken::new());
    assert_eq!(runner.step().await.unwrap(), 4, "four at a time");
    until("every replay done", async || {
        runner.step().await.unwrap();
        let states = app.replays().await;
        ids[1..].iter().all(|id| states.iter().any(|replay| replay.id == *id && replay.state == "done"))
    })
    .await;
    runner.finish().await;
    assert_eq!(runner.step().await.unwrap(), 0, "nothing is left to do");
    assert_eq!(show(&app, ids[0]).await["state"], json!("paused"));
    assert_eq!(show(&app, held_id).await["replayed"], json!(0), "a process works on it");
    app.finish_dropping((runner, held, worker)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hands_over_leaves_the_replay_running_and_free() {
    let app = TestApp::builder(On::Sqlite).workers(0).unsubscribed().build().await;
    good_letters(&app, 3).await;
    let worker = worker(&app).await;
    let options = options(Duration::from_secs(600));
    let taken = create(&worker, |new| new).await;
    let id = taken.replay().id;
    let hand_over = options.hand_over.clone();
    let mut published = false;
    let on_progress = &mut |replay: &banklink::store::replays::Replay| {
        if replay.replayed == 3 {
            published = true;
            hand_over.cancel();
        }
    };
    let (replay, end) = worker.work(taken, &options, on_progress).await.unwrap();
    assert!(published && matches!(end, ReplayEnd::HandedOver), "{end:?}");
    assert_eq!((replay.state.as_str(), replay.replayed), ("running", 3));
    app.start_worker();
    let (replay, _) = work(&worker, take(&worker, id, None).await).await;
    assert_eq!((replay.state.as_str(), replay.applied), ("done", 3));
    app.finish_dropping(worker).await;
}

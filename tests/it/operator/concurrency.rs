//! Replays that meet each other, older copies, or their own end.

use std::collections::BTreeMap;

use banklink::store::letters::{Selected, claim, select_dead};
use lapin::BasicProperties;
use rstest::rstest;
use serde_json::Value;
use testkit::waiting::{eventually, until};
use testkit::{On, TestApp};

use super::{assert_reconnect_events, dead_letters, lines, replayable, states};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_replays_replay_each_letter_once(#[case] on: On) {
    let app = TestApp::start(on).await;
    replayable(&app, 40).await;
    let replay = || dead_letters(&app, &["replay", "--class", "unknown_entity", "--yes", "--json"]).run();
    let (one, other) = tokio::join!(replay(), replay());
    let totals = [&one, &other].map(|outcome| serde_json::from_str::<Value>(&outcome.stdout).unwrap());
    let sum = |name: &str| totals.iter().map(|total| total[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("replayed"), sum("applied")), (40, 40), "{one:?} {other:?}");
    assert!(app.dead_letters().await.iter().all(|letter| letter.replays == 1 && letter.state == "resolved"));
    assert_reconnect_events(&app, 40).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_late_copy_with_an_earlier_replay_number_does_not_change_the_letter(#[case] on: On) {
    let app = TestApp::start(on).await;
    let made = replayable(&app, 1).await;
    let (id, entity) = made[0];
    let selected = select_dead(&app.store, &Default::default()).await.unwrap();
    // Claimed twice, as if the first replay had crashed before it published: replay number 2 is current.
    claim(&app.store, &selected, "first").await.unwrap();
    app.sql(
        "UPDATE dead_letters SET claimed_until = '2020-01-01T00:00:00+00:00'",
        "UPDATE dead_letters SET claimed_until = '2020-01-01T00:00:00Z'",
    )
    .await;
    assert_eq!(lines(&app, &["stats"]).await.len(), 1, "an expired claim counts as dead");
    let again: Vec<Selected> = select_dead(&app.store, &Default::default()).await.unwrap();
    assert_eq!(claim(&app.store, &again, "second").await.unwrap().len(), 1);
    let copy = |replay: i64| {
        let mut headers = lapin::types::FieldTable::default();
        headers.insert("x-replay".into(), lapin::types::AMQPValue::LongLongInt(replay));
        BasicProperties::default().with_message_id(id.to_string().as_str().into()).with_headers(headers)
    };
    let body = app.dead_letters().await[0].body.clone();
    app.publish(&body, copy(1)).await;
    app.wait_until_processed().await;
    assert!(app.bank_link(entity).await.unwrap().reconnected_at.is_some(), "the copy is applied like any webhook");
    assert_eq!(states(&app).await, BTreeMap::from([("replaying ".to_owned(), 1)]), "the letter is unchanged");
    app.publish(&body, copy(2)).await;
    app.wait_until_processed().await;
    assert_eq!(states(&app).await, BTreeMap::from([("resolved stale".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_stops_between_letters_and_prints_how_to_continue() {
    let app = TestApp::builder(On::Postgres).workers(0).build().await;
    let worker = || app.role("worker").start();
    let mut first_worker = worker();
    replayable(&app, 100).await;
    // Without a worker nothing is resolved meanwhile.
    assert_eq!(first_worker.terminate().await, 0);
    let replay = ["replay", "--class", "unknown_entity", "--yes", "--json"];
    let mut first = dead_letters(&app, &[&replay[..], &["--rate", "4/s"]].concat()).start();
    let replayed = async || app.dead_letters().await.iter().filter(|letter| letter.replays > 0).count();
    until("some replayed letters", async || replayed().await >= 10).await;
    assert_eq!(first.interrupt().await, 1);
    let (log, claimed) = (first.log(), replayed().await);
    assert!(log.contains("run the same command again to continue"), "{log}");
    let totals = log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()?.get("replayed")?.as_u64());
    assert_eq!(totals, u64::try_from(claimed).ok(), "the totals include every claimed letter: {log}");
    assert!(claimed < 100, "it stopped early");
    assert!(app.dead_letters().await.iter().all(|letter| letter.claimed_until.is_none()), "no claim is pending");

    let mut second_worker = worker();
    assert_eq!(dead_letters(&app, &replay).run().await.code, 0);
    app.wait_until_processed().await;
    assert!(app.dead_letters().await.iter().all(|letter| letter.state == "resolved" && letter.replays == 1));
    assert_eq!(second_worker.terminate().await, 0);
}

/// SIGKILL ends the replay; after another run every letter is resolved and every link is up to date.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replay_is_completed_by_another_run() {
    let app = TestApp::builder(On::Postgres).build().await;
    let made = replayable(&app, 300).await;
    let mut first =
        dead_letters(&app, &["replay", "--class", "unknown_entity", "--yes", "--rate", "200/s", "--wait", "0"]).start();
    eventually("some replayed letters", async || {
        let replayed = app.dead_letters().await.iter().filter(|letter| letter.replays > 0).count();
        (replayed > 20).then_some(())
    })
    .await;
    first.kill().await;
    // A letter that was claimed and not published is dead again once its claim expires.
    app.sql("", "UPDATE dead_letters SET claimed_until = now() - interval '1 s' WHERE claimed_until IS NOT NULL").await;
    let again = dead_letters(&app, &["replay", "--class", "unknown_entity", "--yes", "--json"]).run().await;
    assert_eq!(again.code, 0, "{again:?}");
    eventually("every letter resolved", async || {
        app.dead_letters().await.iter().all(|letter| letter.state == "resolved").then_some(())
    })
    .await;
    for (_, entity) in &made {
        assert!(app.bank_link(*entity).await.unwrap().reconnected_at.is_some());
    }
    assert_reconnect_events(&app, made.len()).await;
}

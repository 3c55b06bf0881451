//! Many webhooks, of which some are dropped and the others arrive twice and in any order.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::lean_api::LeanApi;
use testkit::process::Output;
use testkit::waiting::{until as wait_until, within};
use testkit::{On, TestApp};

use super::{ago, complete, counts, created, reconcile, until};

const WEBHOOKS: usize = 2_000;
const DROPPED: usize = 400;
/// How many of them are posted while a run works.
const ARRIVING: usize = 500;

/// Every webhook but each fifth one, twice, in an order that has nothing to do with time.
fn delivered(webhooks: &[Value]) -> Vec<&Value> {
    let kept: Vec<&Value> = webhooks.iter().enumerate().filter(|(index, _)| index % 5 != 0).map(|(_, w)| w).collect();
    // 1,009 is a prime, so this visits each of them once.
    let shuffled = (0..kept.len()).map(|index| kept[index * 1_009 % kept.len()]);
    shuffled.flat_map(|webhook| [webhook, webhook]).collect()
}

fn webhooks() -> Vec<Value> {
    (0..i64::try_from(WEBHOOKS).unwrap()).map(|number| created(60 + number * 600)).collect()
}

fn totals(output: &Output) -> Value {
    serde_json::from_str(output.stdout.trim()).unwrap()
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_dropped_webhooks_are_sent_and_the_next_run_finds_nothing(#[case] on: On) {
    let app = TestApp::builder(on).relays(0).unsubscribed().build().await;
    let webhooks = webhooks();
    let lean = LeanApi::start(webhooks.clone()).await;
    for webhook in delivered(&webhooks) {
        app.publish_webhook(webhook).await;
    }
    app.until_links(WEBHOOKS - DROPPED).await;

    let first = app.lean_command(&lean, &["reconcile", "--json"]).run().await;
    assert_eq!(first.code, 0, "{first:?}");
    let found = totals(&first);
    assert_eq!((&found["sent"], &found["known"]), (&json!(DROPPED), &json!(WEBHOOKS - DROPPED)));
    app.until_links(WEBHOOKS).await;
    let complete_until = until(&app).await;

    let second = app.lean_command(&lean, &["reconcile", "--json", "--from", "90d"]).run().await;
    assert_eq!((totals(&second)["sent"].clone(), totals(&second)["known"].clone()), (json!(0), json!(WEBHOOKS)));
    assert!(until(&app).await > complete_until);
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_webhooks_arrive_nothing_is_lost_and_nothing_remains_missing() {
    let app = TestApp::builder(On::Postgres).relays(0).unsubscribed().build().await;
    let webhooks = webhooks().split_off(WEBHOOKS - ARRIVING);
    let lean = LeanApi::start(webhooks.clone()).await;
    let delivering = async {
        for webhooks in delivered(&webhooks).chunks(50) {
            let answers = join_all(webhooks.iter().map(|webhook| app.post(webhook))).await;
            for answer in &answers {
                answer.assert_accepted();
            }
        }
    };
    let (report, ()) = tokio::join!(reconcile(&app, &lean), delivering);
    assert!(complete(&report).sent >= ARRIVING as u64 / 5, "{report:?}");
    app.until_links(ARRIVING).await;
    wait_until("an empty queue", async || app.ready_messages(&app.topology.webhooks()).await == 0).await;
    let all = app.lean_command(&lean, &["reconcile", "--json", "--from", "90d"]).run().await;
    assert_eq!((all.code, &totals(&all)["sent"]), (0, &json!(0)), "{all:?}");
    app.finish_with_leftovers().await;
}

/// A list that is too long for one window is read in several, each of which is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_read_in_windows_and_each_webhook_counts_once() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let event = |number: i64| json!({ "type": "results.ready", "event_id": format!("event {number}"), "timestamp": ago(number * 60) });
    let lean = LeanApi::start((1..=25_000).map(event)).await;
    let report = within(reconcile(&app, &lean)).await;
    assert_eq!(complete(&report), counts(0, 0, 0, 25_000));
    let windows: BTreeSet<String> = lean.requests().iter().map(|request| request.query["to"].clone()).collect();
    assert!(windows.len() >= 3, "{windows:?}");
    assert_eq!(app.reconcile_runs().await.len(), 1);
}

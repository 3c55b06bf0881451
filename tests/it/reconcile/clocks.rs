//! Clocks that are wrong, and what a complete instant is worth then.

use banklink::reconcile::{Settings, Step};
use banklink::store::leases::{Acquired, acquire};
use chrono::{DateTime, TimeDelta, Utc};
use rstest::rstest;
use serde_json::{Value, json};
use testkit::lean_api::{Answer, LeanApi};
use testkit::waiting::eventually;
use testkit::{On, TestApp};

use super::{client, complete, counts, created, reconcile, until};

/// A run that a process with a clock ahead has recorded.
async fn record_run(app: &TestApp, complete_until: &str) {
    let insert = format!(
        "INSERT INTO reconcile_runs (source, started_at, ended_at, \"from\", \"to\", complete_until) VALUES ('events', \
         '{complete_until}', '{complete_until}', '2020-01-01T00:00:00+00:00', '{complete_until}', '{complete_until}')"
    );
    app.sql(&insert, &insert).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_instant_in_the_future_counts_neither_now_nor_once_it_has_come(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let lean = LeanApi::start([created(120)]).await;
    record_run(&app, "2999-01-01T00:00:00+00:00").await;
    assert_eq!(until(&app).await, None);
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 1, 0, 0));
    assert!(until(&app).await.is_some_and(|until| until <= Utc::now()));
    assert_eq!(app.reconcile_runs().await[0].complete_until, None);
    app.finish_with_leftovers().await;
}

/// Lean's time is `behind` that of this host. Returns up to when a run is complete, and its end.
async fn complete_with_lean_behind(behind: TimeDelta) -> (DateTime<Utc>, DateTime<Utc>) {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([created(600)]).await;
    lean.alter(move |_, answer| {
        let date = (Utc::now() - behind).format("%a, %d %b %Y %H:%M:%S GMT");
        Answer { headers: format!("date: {date}\r\n"), ..answer }
    });
    let end = Utc::now();
    let report = reconcile(&app, &lean).await;
    assert_eq!(complete(&report), counts(0, 1, 0, 0));
    assert_eq!(until(&app).await, report.complete_until);
    app.finish_with_leftovers().await;
    (report.complete_until.unwrap(), end)
}

/// What Lean creates between its own time and that of this host is not listed yet.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_complete_beyond_leans_own_time() {
    let behind = TimeDelta::minutes(5);
    let (complete_until, end) = complete_with_lean_behind(behind).await;
    assert!(complete_until <= Utc::now() - behind && complete_until >= end - behind - TimeDelta::seconds(1));
    let (complete_until, end) = complete_with_lean_behind(TimeDelta::seconds(2)).await;
    assert!(complete_until >= end, "a small difference is that of the network, and of whole seconds");
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_later_than_any_can_is_free(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    assert_eq!(acquire(&app.store, "work", "a").await.unwrap(), Acquired::Taken);
    let later = "UPDATE leases SET expires_at = '2999-01-01T00:00:00+00:00'";
    app.sql(later, later).await;
    assert_eq!(acquire(&app.store, "work", "b").await.unwrap(), Acquired::Taken);
    assert_eq!(acquire(&app.store, "work", "c").await.unwrap(), Acquired::HeldBy("b".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_complete_of_one_list_says_nothing_about_the_other() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let lean = LeanApi::start([]).await;
    let totals = async |source: &str| {
        let run =
            app.lean_command(&lean, &["reconcile", "--json"]).env("BANKLINK_RECONCILE_SOURCE", source).run().await;
        assert_eq!(run.code, 0, "{run:?}");
        serde_json::from_str::<Value>(run.stdout.trim()).unwrap()
    };
    let age =
        |totals: &Value| Utc::now() - DateTime::parse_from_rfc3339(totals["from"].as_str().unwrap()).unwrap().to_utc();
    assert!(age(&totals("events").await) > TimeDelta::days(89));
    assert!(age(&totals("entities").await) > TimeDelta::days(89), "the entities were never compared");
    assert!(age(&totals("events").await) < TimeDelta::days(1));
    let sources: Vec<Value> = status(&app).await.iter().filter_map(|run| run.get("source").cloned()).collect();
    assert_eq!(sources, [json!("events"), json!("entities"), json!("events")]);
}

async fn status(app: &TestApp) -> Vec<Value> {
    let status = app.command(&["reconcile", "status", "--json"]).run().await;
    status.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A webhook that Lean has sent just now may be on the work queue, or on its way.
#[tokio::test(flavor = "multi_thread")]
async fn the_role_leaves_the_last_minute_to_the_webhooks() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([created(120), created(5)]).await;
    let [every, overlap] = [600, 3600].map(std::time::Duration::from_secs);
    let settings = Settings { source: banklink::domain::listed::Source::Events, every, overlap };
    let reconciler = app.reconciler(settings, client(&lean));
    eventually("a connected publisher", async || reconciler.readiness().await.checks[2].1.ok()).await;
    let Step::Ran(report) = reconciler.step().await.unwrap() else { panic!("it is due") };
    assert_eq!(complete(&report), counts(0, 1, 0, 0));
    assert!(report.range.to <= Utc::now() - TimeDelta::minutes(1));
    drop(reconciler);
    app.finish_with_leftovers().await;
}

//! One process at a time reconciles: the lease, its end, and the role that waits for it.

use std::time::Duration;

use banklink::domain::listed::Source;
use banklink::reconcile::{Reconciler, Settings, Step};
use banklink::store::leases::{Acquired, acquire, release, renew};
use banklink::store::reconcile_runs;
use rstest::rstest;
use serde_json::json;
use testkit::lean_api::{Answer, LeanApi};
use testkit::process::{metric, until_answers};
use testkit::waiting::{eventually, until as wait_until};
use testkit::{On, TestApp};

use super::{client, complete, counts, created, reconcile, until};

const HOLDER: &str = "process 1 on elsewhere";
const EXPIRE: &str = "UPDATE leases SET expires_at = '2020-01-01T00:00:00+00:00'";

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder_until_it_is_released_or_expires(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let held_by = |holder: &str| Acquired::HeldBy(holder.to_owned());
    assert_eq!(acquire(&app.store, "work", "a").await.unwrap(), Acquired::Taken);
    assert_eq!(acquire(&app.store, "work", "a").await.unwrap(), Acquired::Taken, "its own");
    assert_eq!(acquire(&app.store, "work", "b").await.unwrap(), held_by("a"));
    assert_eq!(acquire(&app.store, "other work", "b").await.unwrap(), Acquired::Taken);
    assert!(renew(&app.store, "work", "a").await.unwrap() && !renew(&app.store, "work", "b").await.unwrap());

    release(&app.store, "work", "b").await.unwrap();
    assert_eq!(acquire(&app.store, "work", "b").await.unwrap(), held_by("a"), "only the holder releases it");
    release(&app.store, "work", "a").await.unwrap();
    assert_eq!(acquire(&app.store, "work", "b").await.unwrap(), Acquired::Taken);
    app.sql(EXPIRE, EXPIRE).await;
    assert!(renew(&app.store, "work", "b").await.unwrap(), "an expired lease that was not taken can be renewed");
    app.sql(EXPIRE, EXPIRE).await;
    assert_eq!(acquire(&app.store, "work", "a").await.unwrap(), Acquired::Taken);
    assert!(!renew(&app.store, "work", "b").await.unwrap());
    let racing = (0..8).map(|number| {
        let (store, holder) = (app.store.clone(), format!("racer {number}"));
        async move { acquire(&store, "race", &holder).await.unwrap() == Acquired::Taken }
    });
    let taken = all_of(racing).await.into_iter().filter(|taken| *taken).count();
    assert_eq!(taken, 1);
}

/// Awaits all at the same time.
async fn all_of<T: Send + 'static>(all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let mut set = tokio::task::JoinSet::new();
    all.for_each(|future| drop(set.spawn(future)));
    set.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_who_reconciles_and_takes_an_expired_lease() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let lean = LeanApi::start([created(60)]).await;
    acquire(&app.store, "reconcile", HOLDER).await.unwrap();
    let refused = app.lean_command(&lean, &["reconcile"]).run().await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("process 1 on elsewhere is reconciling"), "{refused:?}");
    assert!(lean.requests().is_empty() && app.reconcile_runs().await.is_empty());
    assert_eq!(app.lean_command(&lean, &["reconcile", "--dry-run"]).run().await.code, 1, "something is missing");
    assert!(!lean.requests().is_empty(), "a dry run needs no lease");

    app.sql(EXPIRE, EXPIRE).await;
    assert_eq!(app.lean_command(&lean, &["reconcile"]).run().await.code, 0);
    assert_eq!(acquire(&app.store, "reconcile", HOLDER).await.unwrap(), Acquired::Taken, "released at the end");
    app.finish_with_leftovers().await;
}

/// SIGKILL while Lean lets the command wait for the second page.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_does_no_harm_and_the_next_one_completes_it(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let lean = LeanApi::start((0..250).map(|seconds| created(seconds + 60))).await;
    lean.alter(|request, answer| match request.number("page") {
        1 => Answer { headers: "retry-after: 60\r\n".to_owned(), ..Answer::status(429) },
        _ => answer,
    });
    let mut killed = app.lean_command(&lean, &["reconcile"]).start();
    app.until_links(100).await;
    wait_until("the second page", async || lean.requests().iter().any(|request| request.number("page") == 1)).await;
    let pid = killed.pid();
    killed.kill().await;
    let run = app.reconcile_runs().await.pop().unwrap();
    assert_eq!((run.ended_at, run.complete_until), (None, None));

    lean.alter(|_, answer| answer);
    let early = app.lean_command(&lean, &["reconcile"]).run().await;
    assert!(early.code == 1 && early.stderr.contains(&format!("process {pid} on ")), "{early:?}");
    app.sql(EXPIRE, EXPIRE).await;
    let report = reconcile(&app, &lean).await;
    assert_eq!(complete(&report), counts(100, 150, 0, 0));
    let runs = app.reconcile_runs().await;
    assert!(runs[0].ended_at.is_some() && runs[0].failure.as_ref().unwrap().contains("killed"), "{runs:?}");
    app.until_links(250).await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(250, 0, 0, 0));
}

/// As when the process was suspended for longer than a lease is valid.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_lease_another_process_has_taken_stops() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([created(60)]).await;
    lean.alter(|_, _| Answer { headers: "retry-after: 10\r\n".to_owned(), ..Answer::status(429) });
    let mut run = app.lean_command(&lean, &["reconcile"]).short_deadlines().env("RUST_LOG", "warn").start();
    run.until_log("Lean is unavailable").await;
    let taken = format!("UPDATE leases SET holder = '{HOLDER}'");
    app.sql(&taken, &taken).await;
    run.until_log("the lease was lost").await;
    assert_eq!(run.ended().await, 1);
    assert_eq!(acquire(&app.store, "reconcile", "another").await.unwrap(), Acquired::HeldBy(HOLDER.to_owned()));
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn runs_older_than_leans_memory_are_deleted_but_for_the_complete_instant(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let insert = |id: i64, until: &str| {
        format!(
            "INSERT INTO reconcile_runs (id, source, started_at, \"from\", \"to\", complete_until) VALUES ({id}, 'events', \
             '2020-01-01T00:00:00+00:00', '2020-01-01T00:00:00+00:00', '2020-01-01T00:00:00+00:00', {until})"
        )
    };
    for run in
        [insert(900, "NULL"), insert(901, "'2020-01-01T00:00:00+00:00'"), insert(902, "'2020-01-02T00:00:00+00:00'")]
    {
        app.sql(&run, &run).await;
    }
    let begin = async || {
        let now = chrono::Utc::now();
        reconcile_runs::begin(&app.store, Source::Events, now, now).await.unwrap();
        app.reconcile_runs().await.iter().map(|run| run.id).filter(|id| *id >= 900).collect::<Vec<_>>()
    };
    // The numbers that the database gives are below 900 on PostgreSQL only.
    assert_eq!(begin().await.iter().filter(|id| **id <= 902).collect::<Vec<_>>(), [&902]);
    assert_eq!(until(&app).await.map(|until| until.to_rfc3339()), Some("2020-01-02T00:00:00+00:00".to_owned()));
}

fn settings() -> Settings {
    Settings { source: Source::Events, every: Duration::from_secs(600), overlap: Duration::from_secs(3600) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_role_waits_for_the_lease_and_for_its_time() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([created(120)]).await;
    let reconciler = app.reconciler(settings(), client(&lean));
    let step = async |reconciler: &Reconciler| reconciler.step().await.unwrap();
    acquire(&app.store, "reconcile", HOLDER).await.unwrap();
    assert!(matches!(step(&reconciler).await, Step::HeldBy(holder) if holder == HOLDER));
    release(&app.store, "reconcile", HOLDER).await.unwrap();
    eventually("a connected publisher", async || reconciler.readiness().await.checks[2].1.ok()).await;
    let Step::Ran(report) = step(&reconciler).await else { panic!("it is due") };
    assert_eq!(complete(&report), counts(0, 1, 0, 0));
    assert!(matches!(step(&reconciler).await, Step::NotDue));
    assert_eq!(app.reconcile_runs().await.len(), 1);
    let older = "UPDATE reconcile_runs SET complete_until = '2020-01-01T00:00:00+00:00'";
    app.sql(older, older).await;
    assert!(matches!(step(&reconciler).await, Step::Ran(_)), "it is due again");
    drop(reconciler);
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_finds_what_is_lost_while_it_runs_and_stops_while_lean_is_away() {
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let lean = LeanApi::start([created(120)]).await;
    let role = app.lean_command(&lean, &["run", "reconciler"]).on_free_ports().env("BANKLINK_RECONCILE_EVERY", "1s");
    let mut role = role.start();
    let admin = role.admin().await;
    let ready = until_answers(&admin, "/readyz/reconciler", 200).await;
    assert_eq!(ready["roles"]["reconciler"]["status"], json!("ready"));
    app.until_links(1).await;
    lean.add(&created(90));
    app.until_links(2).await;
    let value = async |name: &str| metric(&admin, name).await.unwrap_or_default();
    wait_until("the metrics", async || {
        value("banklink_reconcile_events_total{outcome=\"sent\"}").await >= 2.0
            && value("banklink_reconcile_complete_until_timestamp_seconds").await > 1.7e9
    })
    .await;
    let text = app.http.get(format!("http://{admin}/metrics")).send().await.unwrap().text().await.unwrap();
    for outcome in ["known", "sent", "dead", "ignored"] {
        assert!(text.contains(&format!("banklink_reconcile_events_total{{outcome=\"{outcome}\"}}")), "{outcome}");
    }
    assert!(text.contains("# HELP banklink_reconcile_complete_until_timestamp_seconds"), "{text}");

    let complete = until(&app).await;
    lean.alter(|_, _| Answer::status(503));
    role.until_log("Lean is unavailable").await;
    assert_eq!(role.terminate().await, 0, "{}", role.log());
    let last = app.reconcile_runs().await.pop().unwrap();
    assert_eq!(last.failure.as_deref(), Some("interrupted"));
    assert!(until(&app).await >= complete);
    assert_eq!(acquire(&app.store, "reconcile", HOLDER).await.unwrap(), Acquired::Taken, "the lease was released");
}

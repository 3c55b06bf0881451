//! Reconciling with Lean: docs/CONTRACT.md#10-reconciling-with-lean.

mod accounts;
mod clocks;
mod commands;
mod failures;
mod lies;
mod takeover;
mod volume;

use std::time::Duration;

use banklink::domain::listed::Source;
use banklink::lean::{Client, Secret, Settings};
use banklink::reconcile::{Missing, Range, Reconciling, Report};
use banklink::reconnect::RetryLimit;
use banklink::store::reconcile_runs::{Counts, complete_until};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use testkit::lean_api::{CLIENT_ID, CLIENT_SECRET, LeanApi};
use testkit::{TestApp, fixtures};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

/// A client of the stand-in that repeats requests for at most `limit`.
fn client_within(lean: &LeanApi, limit: Duration) -> Client {
    let settings = Settings {
        api: Url::parse(&lean.url).unwrap(),
        auth: Url::parse(&lean.url).unwrap(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: Secret::new(CLIENT_SECRET.to_owned()),
    };
    Client::new(settings, RetryLimit::For(limit)).unwrap()
}

fn client(lean: &LeanApi) -> Client {
    client_within(lean, Duration::from_secs(60))
}

/// Reconciles once, from the last complete instant less an hour, or else from 90 days ago.
async fn reconcile(app: &TestApp, lean: &LeanApi) -> Report {
    reconcile_from(app, lean, Source::Events).await
}

async fn reconcile_from(app: &TestApp, lean: &LeanApi, source: Source) -> Report {
    let range = Range::new(None, None, complete_until(&app.store, source).await.unwrap(), TimeDelta::hours(1));
    let (client, publisher, stop) = (client(lean), app.publisher().await, CancellationToken::new());
    let reconciling = Reconciling { store: &app.store, client: &client, source };
    reconciling.send_missing(range, &publisher, &stop, &mut |_| ()).await.unwrap()
}

/// What is missing.
async fn missing(app: &TestApp, lean: &LeanApi) -> (Vec<Missing>, Report) {
    let (client, stop, mut missing) = (client(lean), CancellationToken::new(), Vec::new());
    let range = Range::new(None, None, None, TimeDelta::hours(1));
    let reconciling = Reconciling { store: &app.store, client: &client, source: Source::Events };
    let report = reconciling.list_missing(range, &stop, &mut |found| missing.push(found.clone()), &mut |_| ()).await;
    (missing, report)
}

/// The counts of a report, after it was complete.
#[track_caller]
fn complete(report: &Report) -> Counts {
    assert!(report.failure.is_none(), "{report:?}");
    assert_eq!(report.complete_until, Some(report.range.to));
    report.progress.counts
}

fn counts(known: u64, sent: u64, dead: u64, ignored: u64) -> Counts {
    Counts { known, sent, dead, ignored }
}

/// `seconds` ago, as Lean writes times.
fn ago(seconds: i64) -> String {
    (Utc::now() - TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// An `entity.created` of a new entity, sent `seconds` ago.
fn created(seconds: i64) -> Value {
    let mut webhook = fixtures::created(Uuid::new_v4());
    webhook["timestamp"] = json!(ago(seconds));
    webhook
}

/// The id of the entity that a webhook is about.
fn entity(webhook: &Value) -> Uuid {
    Uuid::parse_str(webhook["payload"]["id"].as_str().unwrap()).unwrap()
}

/// The complete instant of the Events API in the database.
async fn until(app: &TestApp) -> Option<DateTime<Utc>> {
    complete_until(&app.store, Source::Events).await.unwrap()
}

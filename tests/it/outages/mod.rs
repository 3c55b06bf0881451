//! Outages cost time, never an accepted webhook and never an attempt.

mod database;
mod replay;
pub(crate) mod rules;
mod services;

use std::time::Duration;

use testkit::http::post;
use testkit::process::{Running, metric, until_answers};
use testkit::waiting::until;
use testkit::{On, TestApp, TestAppBuilder, fixtures};
use uuid::Uuid;

/// A retry schedule that is shorter than every outage here, so that a message that spent attempts on the outage would die.
const SCHEDULE: &str = "500ms,500ms";
const LONGER_THAN_THE_SCHEDULE: Duration = Duration::from_secs(3);

/// A namespace and a database for roles that run as processes. With a delivery limit of 1, a second delivery count would make
/// a dead letter.
async fn app_for_role_processes(on: On) -> TestApp {
    builder_for_role_processes(on).build().await
}

fn builder_for_role_processes(on: On) -> TestAppBuilder {
    TestApp::builder(on).ingress_only().delivery_limit(1).schedule(SCHEDULE)
}

/// Every role in one process, on the given servers.
fn run(app: &TestApp, amqp_url: &str, database_url: &str) -> Running {
    app.all_roles().env("AMQP_URL", amqp_url).env("DATABASE_URL", database_url).start()
}

/// Posts webhooks before, during and after an outage of the database, and asserts that each is applied at its first attempt.
/// `unready` are the roles that cannot work meanwhile; `last` waits until the outage has lasted long enough.
async fn survive(
    app: &TestApp,
    mut process: Running,
    unready: &[&str],
    begin: impl AsyncFnOnce(),
    last: impl AsyncFnOnce(&Running),
    end: impl AsyncFnOnce(),
) {
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    let send = async |webhooks: usize| {
        for _ in 0..webhooks {
            post(&url, &fixtures::created(Uuid::new_v4())).await.assert_accepted();
        }
    };
    // The worker begins with a small prefetch; after these it has reached the full one.
    send(20).await;
    app.until_links(20).await;
    begin().await;
    send(30).await;
    until_paused(&admin).await;
    for role in unready {
        until_answers(&admin, &format!("/readyz/{role}"), 503).await;
    }
    last(&process).await;
    send(10).await;
    end().await;
    until_answers(&admin, "/readyz", 200).await;
    app.until_links(60).await;
    app.until_outbox_is_empty().await;
    assert_no_attempt_spent(&admin).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    assert!(app.dead_letters().await.is_empty(), "{:?}", app.dead_letters().await);
    let customer = fixtures::created(Uuid::nil())["payload"]["customer_id"].to_string();
    assert!(!process.log().contains(customer.trim_matches('"')), "the log shows a value of a row: {}", process.log());
}

async fn until_paused(admin: &str) {
    until("a paused worker", async || metric(admin, "banklink_worker_paused").await == Some(1.0)).await;
}

async fn assert_no_attempt_spent(admin: &str) {
    for outcome in ["retried", "dead"] {
        let name = format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(admin, &name).await, Some(0.0), "{name}");
    }
}

/// Sleeps, because the test needs an outage of this length.
async fn outlast_the_schedule(_: &Running) {
    tokio::time::sleep(LONGER_THAN_THE_SCHEDULE).await;
}

//! Triggers and constraints of the database that refuse rows.

use rstest::rstest;
use testkit::http::post;
use testkit::process::until_answers;
use testkit::{On, amqp_url, fixtures};
use uuid::Uuid;

use super::{app_for_role_processes, assert_no_attempt_spent, outlast_the_schedule, run, survive, until_paused};

/// A PostgreSQL trigger that raises `sqlstate` when `condition` holds, with a customer id in the message. An AFTER trigger
/// runs at the commit.
pub(crate) fn refusing_trigger(sqlstate: &str, when: &str, condition: &str) -> String {
    let (kind, deferred) =
        if when.starts_with("AFTER") { ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") } else { ("", "") };
    format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN \
         RAISE EXCEPTION 'not %', NEW.customer_id USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$; \
         CREATE {kind} TRIGGER refuse {when} ON bank_links {deferred} FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
}

/// `RAISE` without a code, a cancelled statement, an internal error, and a refusal at the commit.
#[rstest]
#[case::raised("P0001", "BEFORE INSERT")]
#[case::cancelled("57014", "BEFORE INSERT")]
#[case::internal("XX000", "BEFORE INSERT")]
#[case::at_commit("P0001", "AFTER INSERT")]
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_refuses_every_row_is_an_outage(#[case] sqlstate: &str, #[case] when: &str) {
    let app = app_for_role_processes(On::Postgres).await;
    let process = run(&app, &amqp_url(), &app.database_url());
    let trigger = refusing_trigger(sqlstate, when, "true");
    let begin = async || app.sql("", &trigger).await;
    let end = async || app.sql("", "DROP FUNCTION refuse CASCADE").await;
    survive(&app, process, &["worker"], begin, outlast_the_schedule, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_refuses_every_update_is_an_outage() {
    let app = app_for_role_processes(On::Postgres).await;
    let mut process = run(&app, &amqp_url(), &app.database_url());
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    let entities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for entity in &entities {
        post(&url, &fixtures::created(*entity)).await.assert_accepted();
    }
    app.until_links(20).await;
    app.sql("", &refusing_trigger("P0001", "BEFORE UPDATE", "true")).await;
    for entity in &entities {
        post(&url, &fixtures::reconnected(*entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
    }
    until_paused(&admin).await;
    outlast_the_schedule(&process).await;
    app.sql("", "DROP FUNCTION refuse CASCADE").await;
    app.until_reconnected(&entities).await;
    app.until_outbox_is_empty().await;
    assert_no_attempt_spent(&admin).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

/// The row of the worker's probe violates this constraint.
#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_the_probe_violates_is_not_an_outage() {
    let app = app_for_role_processes(On::Postgres).await;
    app.sql("", "ALTER TABLE bank_links ADD CHECK (bank_identifier IS NOT NULL)").await;
    let mut process = run(&app, &amqp_url(), &app.database_url());
    until_answers(&process.admin().await, "/readyz", 200).await;
    let entity = Uuid::new_v4();
    post(&process.url().await, &fixtures::created(entity)).await.assert_accepted();
    app.until_link(entity).await;
    app.until_outbox_is_empty().await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

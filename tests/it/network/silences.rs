//! Connections to PostgreSQL that fall silent, as after a failover or behind a firewall that has lost its state, while new ones
//! are served.

use rstest::rstest;
use sea_orm::{ConnectionTrait, Database};
use testkit::http::post;
use testkit::process::{metric, until_answers};
use testkit::proxy::Proxy;
use testkit::services::Services;
use testkit::waiting::until;
use testkit::{On, TestApp, amqp_url, fixtures};
use uuid::Uuid;

use super::post_some;

/// More silences than the pool has places.
const SILENCES: usize = 12;

#[rstest]
#[case::plain("test-silence", "disable")]
#[case::tls("test-silence-tls", "require")]
#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_after_any_number_of_silences(#[case] name: &str, #[case] sslmode: &str) {
    let services = Services::up_with_tls(name, &["postgres"]).await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let database = Proxy::before(&services.database_url).await;
    let url = format!("{}?sslmode={sslmode}", database.url);
    let process = app.all_roles().env("AMQP_URL", amqp_url()).env("DATABASE_URL", url).env("BANKLINK_MIGRATE", "true");
    let mut process = process.short_deadlines().start();
    let (admin, url) = (process.admin().await, process.url().await);
    let rows = Database::connect(&services.database_url).await.unwrap();
    let count = async |query: &str| {
        let query = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, query);
        rows.query_one_raw(query).await.unwrap().unwrap().try_get::<i64>("", "count").unwrap()
    };
    until_answers(&admin, "/readyz", 200).await;
    let mut expected = 0;
    for _ in 0..SILENCES {
        // In the middle of the work, so that statements are in flight.
        let (before, during) = tokio::join!(post_some(&url, 20), async {
            database.silence_existing();
            post_some(&url, 20).await
        });
        expected += i64::try_from(before.len() + during.len()).unwrap();
        until("every row", async || count("SELECT count(*) FROM bank_links").await == expected).await;
        until("every event", async || count("SELECT count(*) FROM outbox_events").await == 0).await;
    }
    // The sessions of silent connections hold no locks.
    let in_transaction = "SELECT count(*) FROM pg_stat_activity \
         WHERE application_name LIKE 'banklink%' AND state LIKE 'idle in transaction%' AND state_change < now() - interval '1 s'";
    until("no transaction that was left behind", async || count(in_transaction).await == 0).await;
    until_answers(&admin, "/readyz", 200).await;
    for outcome in ["retried", "dead"] {
        let name = format!("banklink_worker_deliveries_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(&admin, &name).await, Some(0.0), "{name}");
    }
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    rows.close().await.unwrap();
    app.finish_with_leftovers().await;
}

/// A transaction that takes long is no silence: its caller waits longer at each attempt, whatever the relay does meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_takes_long_does_not_hold_up_its_webhook_for_good() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let entity = Uuid::new_v4();
    // Much longer than the deadline for silence, which is 0.6 s here, and shorter than the fourth time that it allows, 4.8 s.
    let slow = format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.entity_id = '{entity}' THEN \
         PERFORM pg_sleep(3); END IF; RETURN NEW; END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON bank_links FOR EACH ROW EXECUTE FUNCTION slow()"
    );
    app.sql("", &slow).await;
    let process = app.all_roles().env("AMQP_URL", amqp_url()).env("DATABASE_URL", app.database_url());
    let mut process = process.short_deadlines().start();
    let (admin, url) = (process.admin().await, process.url().await);
    until_answers(&admin, "/readyz", 200).await;
    post(&url, &fixtures::created(entity)).await.assert_accepted();
    app.until_link(entity).await;
    app.until_outbox_is_empty().await;
    assert!(process.log().contains("fallen silent"), "the first attempt was given up: {}", process.log());
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

//! `banklink migrate`, on both databases.

use rstest::rstest;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};
use serde_json::Value;
use testkit::process::until_answers;
use testkit::{On, TestApp};

/// Without roles: one that uses the tables could deadlock with the migration.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn migrate_goes_down_and_up_again_and_reports_the_status(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let states = async |app: &TestApp| {
        let status = app.command(&["migrate", "status", "--json"]).run().await;
        let steps = status.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["applied"] == true);
        steps.collect::<Vec<_>>()
    };
    assert!(states(&app).await.into_iter().all(|applied| applied));
    assert_eq!(app.command(&["migrate", "down"]).run().await.code, 0);
    assert!(states(&app).await.into_iter().all(|applied| !applied));
    let unmigrated = app.role("worker").run().await;
    assert_eq!(unmigrated.code, 1);
    assert!(unmigrated.stderr.contains("banklink migrate up"), "{}", unmigrated.stderr);
    let unhealthy = app.command(&["check"]).run().await;
    assert!(unhealthy.code == 1 && unhealthy.stdout.contains("banklink migrate up"), "{unhealthy:?}");
    let concurrent = tokio::join!(app.command(&["migrate", "up"]).run(), app.command(&["migrate", "up"]).run());
    assert_eq!((concurrent.0.code, concurrent.1.code), (0, 0), "{concurrent:?}");
    assert!(states(&app).await.into_iter().all(|applied| applied));
}

/// A downgrade of the program does not need a downgrade of the schema.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_with_steps_of_a_later_version_is_accepted(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let later = "INSERT INTO seaql_migrations VALUES ('m20991231_235959_later', 0)";
    app.sql(later, later).await;
    for command in [["migrate", "up"].as_slice(), &["migrate", "status"], &["check"]] {
        let done = app.command(command).run().await;
        assert_eq!(done.code, 0, "{command:?}: {done:?}");
    }
    let refused = app.command(&["migrate", "down"]).run().await;
    assert!(refused.code == 1 && refused.stderr.contains("m20991231_235959_later"), "{refused:?}");
    let mut process = app.role("worker").env("BANKLINK_MIGRATE", "true").start();
    until_answers(&process.admin().await, "/readyz", 200).await;
    assert_eq!(process.terminate().await, 0, "{}", process.log());
}

/// An index over millions of rows takes longer than the statement timeout of the roles.
#[tokio::test(flavor = "multi_thread")]
async fn creating_an_index_is_exempt_from_the_usual_statement_timeout() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    assert_eq!(app.command(&["migrate", "down"]).run().await.code, 0);
    for sql in [
        "CREATE TABLE timeouts (seconds double precision)",
        "CREATE FUNCTION record_timeout() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO timeouts SELECT extract(epoch FROM current_setting('statement_timeout')::interval); END $$",
        "CREATE EVENT TRIGGER record_timeout ON ddl_command_start WHEN TAG IN ('CREATE INDEX') \
         EXECUTE FUNCTION record_timeout()",
    ] {
        app.sql("", sql).await;
    }
    let migrated = app.command(&["migrate", "up"]).run().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    let database = app.store.connection();
    let query = Statement::from_string(DbBackend::Postgres, "SELECT min(seconds) AS seconds FROM timeouts");
    let row = database.query_one_raw(query).await.unwrap().unwrap();
    let seconds: Option<f64> = row.try_get("", "seconds").unwrap();
    // No row would mean that the trigger never ran.
    assert!(seconds.is_some_and(|seconds| seconds >= 3_600.0), "{seconds:?}");
}

/// Every later statement on the table would wait behind a waiting migration.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_does_not_wait_for_a_locked_table() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    assert_eq!(app.command(&["migrate", "down"]).run().await.code, 0);
    let lock = Database::connect(app.database_url()).await.unwrap().begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE seaql_migrations").await.unwrap();
    let refused = app.command(&["migrate", "up"]).run().await;
    assert!(refused.code == 1 && refused.stderr.contains("lock timeout"), "{refused:?}");
    lock.rollback().await.unwrap();
    assert_eq!(app.command(&["migrate", "up"]).run().await.code, 0);
}

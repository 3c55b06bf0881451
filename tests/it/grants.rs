//! PostgreSQL with a user for each role, which has the rights of `deploy/postgres/grants.sql` and no others.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use testkit::app::console::Person;
use testkit::app::{ApiClient, insert_dead_letters};
use testkit::lean_api::LeanApi;
use testkit::process::until_answers;
use testkit::services::Services;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

const GRANTS: &str = include_str!("../../deploy/postgres/grants.sql");
const ROLES: [&str; 7] = ["migrator", "worker", "relay", "api", "reconciler", "operator", "console"];

const CONSOLE_PAGES: [&str; 6] = ["/", "/letters?state=any", "/reconciliation", "/audit", "/replays", "/replays/1"];

fn url_of(services: &Services, role: &str) -> String {
    services.database_url.replace("postgres:postgres@", &format!("banklink_{role}:a-password@"))
}

/// A server on which `banklink migrate up` has run as its own user. On a server of its own, because roles belong to the server.
async fn server_with_users(name: &str, app: &TestApp) -> (Services, DatabaseConnection) {
    let services = Services::up(name, &["postgres"]).await;
    let admin = Database::connect(&services.database_url).await.unwrap();
    admin.execute_unprepared(GRANTS).await.unwrap();
    for role in ROLES {
        admin.execute_unprepared(&format!("ALTER ROLE banklink_{role} PASSWORD 'a-password'")).await.unwrap();
    }
    let migrated = app.command(&["migrate", "up"]).env("DATABASE_URL", url_of(&services, "migrator")).run().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    admin.execute_unprepared(GRANTS).await.unwrap();
    (services, admin)
}

/// Starts a replay, pauses it, resumes it, waits until it is known what became of a letter, and cancels it.
async fn replay_in_the_console(person: &Person, database: &DatabaseConnection) {
    insert_dead_letters(database, (0..40).map(|_| fixtures::created(Uuid::new_v4()))).await;
    let plan = person.post("/replays/new", &[("scope", "all")]).await;
    let started = person.submit(&plan, "/replays", &[("rate", "2"), ("reason", "a test")]).await;
    assert_eq!(started.status, 303, "{}", started.text);
    let path = |deed: &str| format!("{}/{deed}", started.header("location"));
    for deed in ["pause", "resume"] {
        assert_eq!(person.post(&path(deed), &[]).await.status, 303, "{deed}");
    }
    let counted = "SELECT 1 FROM replays WHERE reason = 'a test' AND applied > 0";
    let counted = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, counted);
    until("the outcome of a letter", async || database.query_one_raw(counted.clone()).await.unwrap().is_some()).await;
    let question = person.post(&path("cancel"), &[]).await;
    assert_eq!(person.submit(&question, &path("cancel"), &[]).await.status, 303, "{}", question.text);
    let audit = person.get("/audit/export").await.page();
    for deed in [",started,", ",paused,", ",resumed,", ",cancelled,", ",replayed,"] {
        assert!(audit.contains(deed), "{deed}: {audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_works_with_the_rights_of_its_user() {
    let app = TestApp::builder(On::Sqlite).ingress_only().schedule("100ms").build().await;
    let (services, admin) = server_with_users("test-grants", &app).await;
    let mut worker = app.role("worker").env("DATABASE_URL", url_of(&services, "worker")).start();
    let mut relay = app.role("relay").env("DATABASE_URL", url_of(&services, "relay")).start();
    let mut api = app.api_process().env("DATABASE_URL", url_of(&services, "api")).start();
    until_answers(&worker.admin().await, "/readyz", 200).await;
    until_answers(&relay.admin().await, "/readyz", 200).await;
    let exists = async |query: &str| {
        let row = admin.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, query)).await;
        row.unwrap().is_some()
    };

    let entity = Uuid::new_v4();
    app.post(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
    app.post_bytes(b"garbage").await.assert_accepted();
    until("two letters", async || exists("SELECT 1 FROM dead_letters HAVING count(*) = 2").await).await;
    app.post(&fixtures::created(entity)).await.assert_accepted();
    until("a link", async || exists("SELECT 1 FROM bank_links").await).await;
    let found = ApiClient::at(&api.api().await).answer(&format!("/v1/bank-links/{entity}")).await;
    assert_eq!(found.status, 200, "{found:?}");
    until("a published event", async || !exists("SELECT 1 FROM outbox_events").await).await;
    let lean = LeanApi::start([]).await;
    let reconciler = app.lean_command(&lean, &["run", "reconciler"]).on_free_ports();
    let mut reconciler = reconciler.env("DATABASE_URL", url_of(&services, "reconciler")).start();
    until("a reconcile run", async || exists("SELECT 1 FROM reconcile_runs WHERE complete_until IS NOT NULL").await)
        .await;
    let manual = app.lean_command(&lean, &["reconcile"]).env("DATABASE_URL", url_of(&services, "operator")).run().await;
    assert_eq!(manual.code, 0, "{manual:?}");
    let operates = async |expected: i32, arguments: &[&str]| {
        let output = app.command(arguments).env("DATABASE_URL", url_of(&services, "operator")).run().await;
        assert_eq!(output.code, expected, "{arguments:?}: {output:?}");
    };
    operates(0, &["check"]).await;
    operates(0, &["links", "show", &entity.to_string(), "--reveal"]).await;
    operates(0, &["reconcile", "status"]).await;
    operates(0, &["dead-letters", "list"]).await;
    operates(0, &["dead-letters", "replay", "--class", "unknown_entity", "--dry-run"]).await;
    operates(0, &["dead-letters", "replay", "--class", "unknown_entity", "--yes"]).await;
    operates(0, &["dead-letters", "replays", "list"]).await;
    operates(1, &["dead-letters", "replays", "resume", "1"]).await;
    operates(0, &["dead-letters", "export", "--by", "anna"]).await;
    operates(0, &["dead-letters", "discard", "--state", "dead", "--reason", "a test", "--yes"]).await;
    let mut console =
        app.command(&["run", "console"]).on_free_ports().env("DATABASE_URL", url_of(&services, "console")).start();
    let url = format!("http://{}", console.address("showing the console").await);
    for path in CONSOLE_PAGES.into_iter().chain([format!("/links/{entity}").as_str()]) {
        let page = app.http.get(format!("{url}{path}")).send().await.unwrap();
        let (status, page) = (page.status(), page.text().await.unwrap());
        assert!(status == 200 && !page.contains("the database cannot"), "{path}: {status}");
    }
    replay_in_the_console(&Person::at_process(&console).await, &admin).await;
    operates(0, &["dead-letters", "prune", "--resolved-older-than", "0s"]).await;
    operates(1, &["migrate", "down"]).await;
    until("a reconnected link", async || exists("SELECT 1 FROM bank_links WHERE reconnected_at IS NOT NULL").await)
        .await;
    for process in [&mut worker, &mut relay, &mut api, &mut reconciler, &mut console] {
        assert_eq!(process.terminate().await, 0, "{}", process.log());
        assert!(!process.log().contains("permission denied"), "{}", process.log());
    }
    admin.close().await.unwrap();
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_has_more_than_it_needs() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (services, admin) = server_with_users("test-few-grants", &app).await;
    for (role, forbidden) in [
        ("worker", "DELETE FROM bank_links"),
        ("worker", "DELETE FROM dead_letter_history"),
        ("worker", "CREATE TABLE mine (id int)"),
        ("relay", "SELECT 1 FROM bank_links"),
        ("relay", "SELECT 1 FROM dead_letters"),
        ("operator", "DELETE FROM dead_letter_history"),
        ("operator", "UPDATE dead_letter_history SET by = 'other'"),
        ("worker", "SELECT 1 FROM replays"),
        ("reconciler", "UPDATE bank_links SET customer_id = 'x'"),
        ("reconciler", "UPDATE dead_letters SET state = 'discarded'"),
        ("console", "DELETE FROM dead_letters"),
        ("console", "UPDATE bank_links SET customer_id = 'x'"),
        ("console", "UPDATE dead_letter_history SET by = 'other'"),
        ("api", "SELECT 1 FROM dead_letters"),
        ("api", "UPDATE bank_links SET customer_id = 'x'"),
    ] {
        let connection = Database::connect(url_of(&services, role)).await.unwrap();
        let refused = connection.execute_unprepared(forbidden).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{role}: {forbidden}: {refused}");
        connection.close().await.unwrap();
    }
    admin.close().await.unwrap();
    app.finish_with_leftovers().await;
}

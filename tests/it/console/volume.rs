//! A hundred thousand dead letters: every page is there, on both databases. How quick it is, `make bench` measures.

use chrono::TimeDelta;
use rstest::rstest;
use testkit::app::console::loopback;
use testkit::{On, TestApp};

use super::after_a_bad_deploy;

/// The columns that each copy of a letter has in common with it.
const COPIED: &str = "source, body, event_type, entity_id, failure_class, failure, fingerprint, attempts, received_at, first_died_at, \
     deaths, state, replays, received_nanos";

/// Makes 5,000 letters of each, which have died a second apart.
async fn multiply(app: &TestApp) {
    let insert = |id: &str, died_at: &str, numbers: &str| {
        format!(
            "INSERT INTO dead_letters (message_id, last_died_at, {COPIED}) SELECT {id}, {died_at}, {COPIED} FROM dead_letters, {numbers}"
        )
    };
    let died_at = "strftime('%Y-%m-%dT%H:%M:%f+00:00', last_died_at, '-' || i || ' seconds')";
    let numbers =
        "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4999) SELECT i FROM n) AS numbers";
    let sqlite = insert("randomblob(16)", died_at, numbers);
    let numbers = "generate_series(1, 4999) AS numbers (i)";
    let postgres = insert("gen_random_uuid()", "last_died_at - i * interval '1 second'", numbers);
    app.sql(&sqlite, &postgres).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_a_hundred_thousand_letters(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    let letters = after_a_bad_deploy(20);
    app.insert_letters(letters.clone()).await;
    multiply(&app).await;
    let mut middle = letters[9].clone();
    middle.last_died_at -= TimeDelta::seconds(2_500);
    let person = console.visitor();
    let after = format!("{}~{}", middle.last_died_at.timestamp_micros(), middle.message_id);
    for path in [
        "/".to_owned(),
        "/letters".to_owned(),
        format!("/letters?after={after}"),
        format!("/letters?class={}&fingerprint={}&after={after}", middle.failure_class, middle.fingerprint),
        format!("/letters?class={}", middle.failure_class),
        "/letters?state=any&type=entity.created".to_owned(),
        format!("/letters/{}", middle.message_id),
        format!("/letters?entity={}", middle.entity_id.unwrap()),
        "/audit".to_owned(),
        "/reconciliation".to_owned(),
        "/replays".to_owned(),
        "/links?q=customer-1".to_owned(),
    ] {
        assert_eq!(person.get(&path).await.status, 200, "{path}");
    }
    let plan = person.post("/replays/new", &[("scope", "all")]).await.page();
    assert!(
        plan.contains("Replay 100\u{202f}000 letters?") && plan.contains("letters that were tried, out of 100"),
        "a bounded dry run"
    );
    assert!(person.get("/").await.page().contains("100\u{202f}000 letters are dead."));
    drop(console);
}

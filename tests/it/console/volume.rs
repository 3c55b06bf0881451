//! A hundred thousand dead letters: every page stays quick, on both databases.

use std::time::{Duration, Instant};

use rstest::rstest;
use testkit::app::console::loopback;
use testkit::{On, TestApp};

use super::after_a_bad_deploy;

/// What a page may take at the median. Generous for a debug build on a machine that is busy: it is about plans that read everything.
const MAX_MEDIAN: Duration = Duration::from_secs(1);

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_quick_with_a_hundred_thousand_letters(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    let letters = after_a_bad_deploy(100_000);
    let middle = letters[50_000].clone();
    app.insert_letters(letters).await;
    let person = console.visitor();
    let after = format!("{}~{}", middle.last_died_at.timestamp_micros(), middle.message_id);
    for path in [
        "/".to_owned(),
        "/letters".to_owned(),
        format!("/letters?after={after}"),
        format!("/letters?class={}&fingerprint={}&after={after}", middle.failure_class, middle.fingerprint),
        "/letters?state=any&type=entity.created".to_owned(),
        format!("/letters/{}", middle.message_id),
        format!("/letters?entity={}", middle.entity_id.unwrap()),
        "/audit".to_owned(),
        "/reconciliation".to_owned(),
        "/links?q=customer-1".to_owned(),
    ] {
        let mut took = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(person.get(&path).await.status, 200, "{path}");
            took.push(began.elapsed());
        }
        took.sort_unstable();
        eprintln!("{on:?} {:>7.1?} {path}", took[2]);
        assert!(took[2] < MAX_MEDIAN, "{path} took {took:?}");
    }
    drop(console);
}

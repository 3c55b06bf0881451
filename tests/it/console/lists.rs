//! The list of dead letters: kinds, filters in the address, and pages.

use chrono::TimeDelta;
use entity::dead_letter;
use rstest::rstest;
use testkit::app::console::loopback;
use testkit::waiting::until;
use testkit::{On, TestApp};

use super::after_a_bad_deploy;

/// The ids of the letters that a page lists, in its order.
fn listed(page: &str) -> Vec<String> {
    let rows = page.split("href=\"/letters/").skip(1);
    rows.map(|row| row[..36].to_owned()).collect()
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn letters_are_grouped_filtered_and_listed_page_by_page_each_once(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    let person = console.visitor();
    assert!(person.get("/letters").await.page().contains("Nothing here."));

    let mut letters = after_a_bad_deploy(120);
    // Of the same instant, across the end of the first page.
    let instant = letters[45].last_died_at;
    letters[45..60].iter_mut().for_each(|letter| letter.last_died_at = instant);
    app.insert_letters(letters.clone()).await;
    let mut expected: Vec<_> = letters.iter().map(|letter| (letter.last_died_at, letter.message_id)).collect();
    expected.sort_unstable_by(|one, other| other.cmp(one));
    let expected: Vec<String> = expected.into_iter().map(|(_, id)| id.to_string()).collect();

    let (mut found, mut path) = (Vec::new(), "/letters".to_owned());
    loop {
        let page = person.get(&path).await.page();
        found.extend(listed(&page));
        let Some((_, next)) = page.split_once("rel=\"next\" href=\"") else { break };
        path = next.split('"').next().unwrap().replace("&amp;", "&");
    }
    assert_eq!(found, expected);

    let path = "/letters?class=panicked&state=dead";
    assert_eq!(listed(&person.get(path).await.page()).len(), 36);
    let kinds = async || person.get(path).await.page().split("class=\"kind\"").count() - 1;
    until("four kinds", async || kinds().await == 4).await;
    let fingerprint = &letters[9].fingerprint;
    assert_eq!(listed(&person.get(&format!("/letters?fingerprint={fingerprint}")).await.page()).len(), 12);
    let entity = letters[3].entity_id.unwrap();
    assert_eq!(listed(&person.get(&format!("/letters?entity={entity}")).await.page()).len(), 1);
    let since = letters[30].last_died_at.format("%Y-%m-%dT%H:%M:%S%.6fZ");
    assert_eq!(listed(&person.get(&format!("/letters?since={since}")).await.page()).len(), 31);
    assert_eq!(listed(&person.get("/letters?until=30d").await.page()).len(), 0);
    assert!(person.get("/letters?state=discarded").await.page().contains("No letter matches"));
    for wrong in ["class=nonsense", "entity=1", "since=soon", "state=lost", "after=1~x"] {
        let answer = person.get(&format!("/letters?{wrong}")).await;
        assert!(answer.status == 400 && answer.text.contains("is wrong"), "{wrong}: {answer:?}");
    }
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_says_what_is_wrong_and_where_to_look() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    let person = console.visitor();
    until("a connection to RabbitMQ", async || {
        person.get("/").await.page().contains("No worker consumes the work queue")
    })
    .await;
    let mut letters = after_a_bad_deploy(10);
    letters.iter_mut().for_each(|letter| letter.last_died_at -= TimeDelta::days(2));
    app.insert_letters(letters).await;
    until("the letters", async || person.get("/").await.page().contains("10 letters are dead.")).await;
    let page = person.get("/").await.page();
    assert!(page.contains("2d ago") && page.contains("panicked at src/worker/write.rs:51"), "{page}");
    assert!(page.contains("data-live=\"/live/overview\""), "{page}");
    drop(console);
}

/// A large replay, most of whose letters are under way, without those letters.
const LARGE_REPLAY: &str = "INSERT INTO replays (created_at, created_by, selection, letters, state, replayed, changed_at) \
     VALUES ('2026-11-28T10:00:00+00:00', 'omar', '{}', 20000, 'running', 20000, '2026-11-28T10:00:00+00:00')";

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_is_found_beside_a_large_replay(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let mut letters = after_a_bad_deploy(120);
    letters.sort_by_key(|letter| std::cmp::Reverse((letter.last_died_at, letter.message_id)));
    // The first, one in the middle and the last are dead.
    let dead = [0, 60, 119].map(|place: usize| letters[place].clone());
    let is_dead = |id| dead.iter().any(|letter| letter.message_id == id);
    for letter in letters.iter_mut().filter(|letter| !is_dead(letter.message_id)) {
        "replaying".clone_into(&mut letter.state);
    }
    app.insert_letters(letters.clone()).await;
    app.sql(LARGE_REPLAY, LARGE_REPLAY).await;
    let console = app.start_console(loopback()).await;
    let person = console.visitor();
    let ids = |letters: &[dead_letter::Model]| -> Vec<String> {
        letters.iter().map(|letter| letter.message_id.to_string()).collect()
    };
    assert_eq!(listed(&person.get("/letters").await.page()), ids(&dead));
    let fingerprint = &dead[1].fingerprint;
    let alike: Vec<_> = dead.iter().filter(|letter| letter.fingerprint == *fingerprint).cloned().collect();
    assert_eq!(listed(&person.get(&format!("/letters?fingerprint={fingerprint}")).await.page()), ids(&alike));
    assert!(person.get("/letters?fingerprint=0123456789ab").await.page().contains("No letter matches"));
    assert_eq!(listed(&person.get("/letters?state=replaying").await.page()).len(), 50);
}

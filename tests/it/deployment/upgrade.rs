//! Two versions side by side, during an upgrade and a rollback.

use std::collections::BTreeSet;
use std::path::PathBuf;

use testkit::process::{Running, program, until_answers};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use crate::network::post_some;

/// The version before this one: the program that `BANKLINK_PREVIOUS` names. Without it, this version takes its part.
fn previous() -> PathBuf {
    std::env::var_os("BANKLINK_PREVIOUS").map_or_else(
        || {
            eprintln!("NOT CHECKED: without BANKLINK_PREVIOUS, the old version is the new one");
            program()
        },
        PathBuf::from,
    )
}

async fn start(app: &TestApp, version: PathBuf) -> (Running, String) {
    let running = app.all_roles().of(version).start();
    until_answers(&running.admin().await, "/readyz", 200).await;
    let url = running.url().await;
    (running, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_a_rollback_run_side_by_side_with_the_version_before() {
    let app = TestApp::builder(On::Postgres).workers(0).relays(0).build().await;
    assert_eq!(app.command(&["migrate", "down"]).run().await.code, 0);
    let migrated = app.command(&["migrate", "up"]).of(previous()).run().await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    let (mut old, old_url) = start(&app, previous()).await;
    let mut entities = post_some(&old_url, 10).await;

    // The schema first, while the old version works.
    let (posted, migrated) = tokio::join!(post_some(&old_url, 20), app.command(&["migrate", "up"]).run());
    assert_eq!(migrated.code, 0, "{migrated:?}");
    entities.extend(posted);
    let (mut new, new_url) = start(&app, program()).await;
    let (by_old, by_new) = tokio::join!(post_some(&old_url, 20), post_some(&new_url, 20));
    entities.extend(by_old.into_iter().chain(by_new));
    assert_eq!(old.terminate().await, 0, "{}", old.log());
    entities.extend(post_some(&new_url, 10).await);

    // The version before starts on the new schema.
    let (mut rolled_back, url) = start(&app, previous()).await;
    assert_eq!(new.terminate().await, 0, "{}", new.log());
    entities.extend(post_some(&url, 10).await);
    let again = fixtures::reconnected(entities[0], "2026-06-01T00:00:00Z");
    testkit::http::post(&url, &again).await.assert_accepted();
    app.until_reconnected(&entities[..1]).await;

    assert_eq!(entities.len(), 90, "every webhook was answered 200");
    for entity in &entities {
        app.until_link(*entity).await;
    }
    let events = app.wait_until_processed().await;
    let linked = events.iter().filter(|event| event["type"] == "customer.bank_linked");
    let announced: BTreeSet<Uuid> =
        linked.map(|event| event["data"]["entity_id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(announced, entities.into_iter().collect());
    assert_eq!(rolled_back.terminate().await, 0, "{}", rolled_back.log());
}

//! Convergence on real databases: two workers, small batches, every webhook twice, in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rstest::rstest;
use serde_json::Value;
use testkit::model::{Expected, any_webhook, by_entity, expected, held};
use testkit::waiting::{eventually, until};
use testkit::{On, TestApp};
use uuid::Uuid;

/// Few, so that both workers write the same rows.
const ENTITIES: usize = 6;

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_converge(#[case] on: On) {
    // Long enough for a reconnect whose link is created last.
    let schedule = "50ms,100ms,200ms,500ms,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s";
    let app = TestApp::builder(on).schedule(schedule).workers(2).batch_size(7).build().await;
    let (webhooks, order) = deliveries();
    for index in order {
        app.publish_webhook(&webhooks[index]).await;
    }
    let wanted: BTreeMap<String, Expected> =
        by_entity(&webhooks).into_iter().filter_map(|(id, of)| Some((id, expected(of)?))).collect();
    until("the expected rows", async || rows(&app).await == wanted).await;

    let created = webhooks.iter().filter(|webhook| webhook["type"] == "entity.created");
    let created: std::collections::BTreeSet<&str> = created.filter_map(|w| w["payload"]["id"].as_str()).collect();
    let mut linked = Vec::new();
    let events = eventually("every bank_linked event", async || {
        let event = app.next_event().await;
        if event["type"] == "customer.bank_linked" {
            linked.push(event["data"]["entity_id"].as_str().unwrap_or_default().to_owned());
        }
        (linked.len() == created.len()).then(|| linked.clone())
    });
    let mut events = events.await;
    events.sort();
    assert!(events.iter().eq(created.iter()), "one bank_linked event for each created link");
    app.wait_until_processed()
        .await
        .iter()
        .for_each(|event| assert_ne!(event["type"], "customer.bank_linked", "{event}"));
}

/// Webhooks about several entities, at least one of which creates each link, and an order with every webhook twice.
fn deliveries() -> (Vec<Value>, Vec<usize>) {
    let mut runner = TestRunner::default();
    let entities: Vec<Uuid> = (0..ENTITIES).map(|_| Uuid::new_v4()).collect();
    let about = |entity: Uuid| {
        prop::collection::vec(any_webhook(entity), 20..40)
            .prop_filter("creates a link", |webhooks| expected(webhooks).is_some())
    };
    let of_all = entities.into_iter().map(about).collect::<Vec<_>>();
    let webhooks = of_all.prop_map(|of_each| of_each.concat()).new_tree(&mut runner).expect("webhooks").current();
    let twice = (0..webhooks.len()).chain(0..webhooks.len()).collect::<Vec<_>>();
    let order = Just(twice).prop_shuffle().new_tree(&mut runner).expect("an order").current();
    (webhooks, order)
}

/// The rows in the model's form.
async fn rows(app: &TestApp) -> BTreeMap<String, Expected> {
    app.bank_links().await.iter().map(|row| (row.entity_id.to_string(), held(row))).collect()
}

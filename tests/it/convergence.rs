//! Convergence on real databases: two workers at once, small batches, every webhook several times in any order.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp};
use crate::model::{Expected, any_webhook, by_entity, expected, held};
use crate::waiting::eventually;

/// Few, so that two workers meet on the same rows.
const ENTITIES: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_converge_on_sqlite() {
    converge(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_converge_on_postgres() {
    converge(On::Postgres).await;
}

async fn converge(on: On) {
    // A reconnect waits for its link, however long the rest takes.
    let schedule = "50ms,100ms,200ms,500ms,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s";
    let app = Recipe::on(on).retrying(schedule).workers(2, 7).start().await;
    let (webhooks, order) = deliveries();
    for index in order {
        app.publish_by_hand(webhooks[index].to_string().as_bytes(), BasicProperties::default()).await;
    }
    let wanted: BTreeMap<String, Expected> =
        by_entity(&webhooks).into_iter().filter_map(|(id, of)| Some((id, expected(of)?))).collect();
    eventually("the rows that the model says", async || (rows(&app).await == wanted).then_some(())).await;

    let created = webhooks.iter().filter(|webhook| webhook["type"] == "entity.created");
    let created: std::collections::BTreeSet<&str> = created.filter_map(|w| w["payload"]["id"].as_str()).collect();
    let mut linked = Vec::new();
    let events = eventually("every link announced", async || {
        let event = app.next_event().await;
        if event["type"] == "customer.bank_linked" {
            linked.push(event["data"]["entity_id"].as_str().unwrap_or_default().to_owned());
        }
        (linked.len() == created.len()).then(|| linked.clone())
    });
    let mut events = events.await;
    events.sort();
    assert!(events.iter().eq(created.iter()), "one bank_linked for each link that was created");
    app.settle_everything().await.iter().for_each(|event| assert_ne!(event["type"], "customer.bank_linked", "{event}"));
    app.assert_nothing_left_behind().await;
}

/// Webhooks about several entities, each of which is made by at least one, and an order with every one of them twice.
fn deliveries() -> (Vec<Value>, Vec<usize>) {
    let mut runner = TestRunner::default();
    let entities: Vec<Uuid> = (0..ENTITIES).map(|_| Uuid::new_v4()).collect();
    let about = |entity: Uuid| {
        prop::collection::vec(any_webhook(entity), 20..40)
            .prop_filter("makes a link", |webhooks| expected(webhooks).is_some())
    };
    let of_all = entities.into_iter().map(about).collect::<Vec<_>>();
    let webhooks = of_all.prop_map(|of_each| of_each.concat()).new_tree(&mut runner).expect("webhooks").current();
    let twice = (0..webhooks.len()).chain(0..webhooks.len()).collect::<Vec<_>>();
    let order = Just(twice).prop_shuffle().new_tree(&mut runner).expect("an order").current();
    (webhooks, order)
}

/// What the table holds, in the model's words.
async fn rows(app: &TestApp) -> BTreeMap<String, Expected> {
    app.bank_links().await.iter().map(|row| (row.entity_id.to_string(), held(row))).collect()
}

//! Convergence on real databases: two workers at once, small batches, every webhook several times in any order.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp, eventually};
use crate::model::{Expected, any_webhook, by_entity, expected};

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

/// What the table holds, in the model's words. Times in columns are cut to microseconds, and so all equal here; the exact
/// ones are compared through `version`.
async fn rows(app: &TestApp) -> BTreeMap<String, Expected> {
    let rows = app.bank_links().await.into_iter();
    let told = rows.map(|row| {
        let nanos = |name: &str, at: Option<sea_orm::prelude::DateTimeUtc>| {
            at.map(|_| row.instants.get(name).and_then(Value::as_i64).unwrap_or(row.version))
        };
        let columns = [
            ("customer_id", Some(row.customer_id.clone())),
            ("app_user_id", row.app_user_id.clone()),
            ("bank_identifier", row.bank_identifier.clone()),
            ("bank_name", row.bank_name.clone()),
            ("bank_logo", row.bank_logo.clone()),
            ("bank_main_color", row.bank_main_color.clone()),
            ("bank_swift_code", row.bank_swift_code.clone()),
            ("bank_account_type", row.bank_account_type.clone()),
            ("bank_type", row.bank_type.clone()),
            ("last_event_id", row.last_event_id.clone()),
        ];
        let expected = Expected {
            columns: columns.into_iter().collect(),
            permissions: serde_json::from_value(row.permissions.clone()).expect("names"),
            linked_at: nanos("linked_at", row.linked_at),
            reconnected_at: nanos("reconnected_at", row.reconnected_at),
            version: row.version,
        };
        (row.entity_id.to_string(), expected)
    });
    told.collect()
}

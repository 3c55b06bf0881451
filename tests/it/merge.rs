//! The merge converges: any order, any duplicates and any batches give the same row.

use banklink::domain::bank_link::{BankLink, merge};
use banklink::domain::event;
use banklink::domain::field::Field;
use banklink::domain::outcome::{DeliveryResult, Outcome};
use banklink::domain::timestamp::Timestamp;
use banklink::domain::webhook::{Parsed, Webhook, parse};
use proptest::prelude::*;
use serde_json::Value;
use testkit::model::{Expected, any_webhook, expected};
use uuid::Uuid;

const ENTITY: Uuid = Uuid::from_u128(7);

fn parsed(webhook: &Value) -> Webhook {
    let received_at = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
    match parse(webhook.to_string().as_bytes(), received_at, received_at) {
        Ok(Parsed::Link(webhook)) => webhook,
        other => panic!("{other:?} of {webhook}"),
    }
}

/// Webhooks, an order of delivery with duplicates, and a batch size.
fn deliveries() -> impl Strategy<Value = (Vec<Value>, Vec<usize>, usize)> {
    prop::collection::vec(any_webhook(ENTITY), 1..8).prop_flat_map(|webhooks| {
        let all: Vec<usize> = (0..webhooks.len()).collect();
        let repeats = prop::collection::vec(0..webhooks.len(), 0..6);
        let order = repeats.prop_map(move |repeats| [all.clone(), repeats].concat()).prop_shuffle();
        (Just(webhooks), order, 1..5_usize)
    })
}

/// Merges batch by batch; a reconnect of an unknown link is repeated with the next batch.
fn merge_all(webhooks: &[Webhook], order: &[usize], batch_size: usize) -> (Option<BankLink>, Vec<event::Event>) {
    let (mut row, mut events, mut again) = (None, Vec::new(), Vec::new());
    let mut batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
    batches.push(Vec::new());
    for batch in batches {
        let batch: Vec<usize> = again.drain(..).chain(batch).collect();
        let merged = merge(row.as_ref(), batch.iter().map(|index| &webhooks[*index]));
        let unknown =
            batch.iter().zip(&merged.results).filter(|(_, result)| matches!(result, DeliveryResult::Failed(_)));
        again.extend(unknown.map(|(index, _)| *index));
        if let Some(after) = merged.after {
            events.extend(event::for_change(row.as_ref(), &after, "/banklink"));
            row = Some(after);
        }
    }
    (row, events)
}

fn contents(row: &BankLink) -> Expected {
    let columns = Field::ALL.into_iter().filter(|field| *field != Field::Permissions);
    Expected {
        columns: columns.map(|field| (field.name(), row.get(field).map(str::to_owned))).collect(),
        permissions: row.get(Field::Permissions).map(|names| serde_json::from_str(names).unwrap()),
        linked_at: row.linked_at.map(Timestamp::nanos),
        reconnected_at: row.reconnected_at.map(Timestamp::nanos),
        version: row.version.nanos(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_duplicates_and_batches_give_the_expected_row((webhooks, order, batch_size) in deliveries()) {
        let parsed: Vec<Webhook> = webhooks.iter().map(parsed).collect();
        let (row, events) = merge_all(&parsed, &order, batch_size);
        prop_assert_eq!(row.as_ref().map(contents), expected(&webhooks));

        let created = webhooks.iter().any(|webhook| webhook["type"] == "entity.created");
        let linked = events.iter().filter(|event| event.event_type == "customer.bank_linked").count();
        prop_assert_eq!(linked, usize::from(created), "one event customer.bank_linked for a created link");
    }

    #[test]
    fn a_repeat_is_stale((webhooks, order, batch_size) in deliveries()) {
        let parsed: Vec<Webhook> = webhooks.iter().map(parsed).collect();
        let (row, _) = merge_all(&parsed, &order, batch_size);
        let merged = merge(row.as_ref(), &parsed);
        prop_assert_eq!(merged.after, None);
        prop_assert!(merged.results.iter().all(|result| *result != DeliveryResult::Handled(Outcome::Applied)));
    }

    #[test]
    fn a_change_raises_the_revision_by_one_and_never_erases_a_field((webhooks, order, _) in deliveries()) {
        let parsed: Vec<Webhook> = webhooks.iter().map(parsed).collect();
        let mut row: Option<BankLink> = None;
        for index in order {
            let Some(after) = merge(row.as_ref(), [&parsed[index]]).after else { continue };
            prop_assert_eq!(after.revision, row.as_ref().map_or(0, |row| row.revision) + 1);
            if let Some(before) = &row {
                for (new, old) in after.fields.iter().zip(&before.fields) {
                    prop_assert!(new >= old, "{old:?} became {new:?}");
                }
            }
            row = Some(after);
        }
    }
}

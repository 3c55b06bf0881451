//! A batch produces the same row as its webhooks one by one, in any order and with any number of repeats.

use banklink::domain::bank_link::{BankLink, FieldValue, merge};
use banklink::domain::event;
use banklink::domain::field::Field;
use banklink::domain::outcome::{DeliveryResult, Outcome};
use banklink::domain::timestamp::Timestamp;
use banklink::domain::webhook::{Kind, Webhook};
use uuid::Uuid;

/// `input` encodes a number of webhooks, the webhooks, and an order with repeats.
pub fn holds(input: &[u8]) {
    let mut bytes = input.iter().copied();
    let count = 1 + usize::from(bytes.next().unwrap_or(0) % 8);
    let webhooks: Vec<Webhook> = (0..count).map(|_| webhook(&mut bytes)).collect();
    let size = 1 + usize::from(bytes.next().unwrap_or(0) % 4);
    // Each further byte is the index of a webhook; webhooks that the input does not name follow at the end.
    let named: Vec<usize> = bytes.take(32).map(|byte| usize::from(byte) % count).collect();
    let missing = (0..count).rev().filter(|index| !named.contains(index));
    let order: Vec<&Webhook> = named.iter().copied().chain(missing).map(|index| &webhooks[index]).collect();

    let (at_once, _) = merge_all(vec![webhooks.iter().collect()]);
    for batches in [order.chunks(1), order.chunks(size)] {
        let (row, linked) = merge_all(batches.map(<[&Webhook]>::to_vec).collect());
        assert_eq!(row.as_ref().map(contents), at_once.as_ref().map(contents));
        let created = webhooks.iter().any(|webhook| webhook.kind == Kind::Created);
        assert_eq!(linked, usize::from(created), "one event customer.bank_linked for a created link");
    }
    assert_eq!(at_once.as_ref().map(contents), expected(&webhooks));

    let again = merge(at_once.as_ref(), &webhooks);
    assert_eq!(again.after, None, "a repeat is stale");
}

/// A webhook from a few bytes. Few timestamps and values exist, so that many are equal.
fn webhook(bytes: &mut impl Iterator<Item = u8>) -> Webhook {
    let mut next = || bytes.next().unwrap_or(0);
    let kind = [Kind::Created, Kind::Updated, Kind::Updated, Kind::Reconnected][usize::from(next() % 4)];
    let timestamp = Timestamp::from_nanos(i64::from(next() % 6)).expect("after 1970");
    let fields = u16::from_be_bytes([next(), next()]);
    let carried = Field::ALL.into_iter().enumerate().filter(|(index, field)| match kind {
        Kind::Reconnected => *field == Field::LastEventId && fields & 1 == 1,
        _ => *field == Field::CustomerId || fields >> index & 1 == 1,
    });
    let carried = carried.map(|(_, field)| (field, char::from(b'a' + next() % 3).to_string())).collect();
    Webhook { entity_id: Uuid::from_u128(7), timestamp, kind, carried, unreadable: Vec::new() }
}

/// Merges batch by batch; a reconnect of an unknown link is repeated with the next batch. Returns the row and the number of
/// `customer.bank_linked` events.
fn merge_all(mut batches: Vec<Vec<&Webhook>>) -> (Option<BankLink>, usize) {
    batches.push(Vec::new());
    let (mut row, mut linked, mut again): (Option<BankLink>, usize, Vec<&Webhook>) = (None, 0, Vec::new());
    for batch in batches {
        let batch: Vec<&Webhook> = again.drain(..).chain(batch).collect();
        let merged = merge(row.as_ref(), batch.iter().copied());
        assert_eq!(merged.results.len(), batch.len(), "one result for each webhook");
        let applied = merged.results.contains(&DeliveryResult::Handled(Outcome::Applied));
        assert_eq!(merged.after.is_some(), applied, "a row is written if and only if a webhook was applied");
        let unknown =
            batch.iter().zip(&merged.results).filter(|(_, result)| matches!(result, DeliveryResult::Failed(_)));
        again = unknown.map(|(webhook, _)| *webhook).collect();
        if let Some(after) = merged.after {
            assert_eq!(after.revision, row.as_ref().map_or(0, |row| row.revision) + 1, "the revision rises by one");
            let events = event::for_change(row.as_ref(), &after, "/banklink");
            linked += events.iter().filter(|event| event.event_type == "customer.bank_linked").count();
            row = Some(after);
        }
    }
    (row, linked)
}

/// The contents of a row without its revision, which depends on the batches.
type Contents = ([Option<FieldValue>; Field::COUNT], Option<Timestamp>, Option<Timestamp>, Timestamp);

fn contents(row: &BankLink) -> Contents {
    (row.fields.clone(), row.linked_at, row.reconnected_at, row.version)
}

/// The expected contents: of each field the greatest timestamp and value.
fn expected(webhooks: &[Webhook]) -> Option<Contents> {
    let of = |kind: Kind| webhooks.iter().filter(move |webhook| webhook.kind == kind).map(|webhook| webhook.timestamp);
    of(Kind::Created).chain(of(Kind::Updated)).next()?;
    let newest = |field: Field| {
        let values =
            webhooks.iter().flat_map(|webhook| webhook.carried.iter().map(|carried| (webhook.timestamp, carried)));
        let values = values.filter(|(_, (carried, _))| *carried == field);
        values.map(|(timestamp, (_, value))| FieldValue { timestamp, value: value.clone() }).max()
    };
    let version = webhooks.iter().map(|webhook| webhook.timestamp).max()?;
    Some((Field::ALL.map(newest), of(Kind::Created).min(), of(Kind::Reconnected).max(), version))
}

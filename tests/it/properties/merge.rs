//! A batch merged at once makes the row that its webhooks make one by one, in whatever order and however often they come.

use banklink::domain::bank_link::{BankLink, FieldValue, merge};
use banklink::domain::event;
use banklink::domain::field::Field;
use banklink::domain::outcome::{DeliveryResult, Outcome};
use banklink::domain::timestamp::Timestamp;
use banklink::domain::webhook::{Kind, Webhook};
use uuid::Uuid;

/// `input` is a number of webhooks, the webhooks, and for the rest an order with repeats.
pub(crate) fn holds(input: &[u8]) {
    let mut bytes = input.iter().copied();
    let count = 1 + usize::from(bytes.next().unwrap_or(0) % 8);
    let webhooks: Vec<Webhook> = (0..count).map(|_| webhook(&mut bytes)).collect();
    let size = 1 + usize::from(bytes.next().unwrap_or(0) % 4);
    // First what the rest of the input asks for, then what it forgot; each byte is a webhook's place.
    let asked: Vec<usize> = bytes.take(32).map(|byte| usize::from(byte) % count).collect();
    let forgotten = (0..count).rev().filter(|place| !asked.contains(place));
    let order: Vec<&Webhook> = asked.iter().copied().chain(forgotten).map(|place| &webhooks[place]).collect();

    let (at_once, _) = merge_all(vec![webhooks.iter().collect()]);
    for batches in [order.chunks(1), order.chunks(size)] {
        let (row, linked) = merge_all(batches.map(<[&Webhook]>::to_vec).collect());
        assert_eq!(row.as_ref().map(contents), at_once.as_ref().map(contents));
        let created = webhooks.iter().any(|webhook| webhook.kind == Kind::Created);
        assert_eq!(linked, usize::from(created), "announced once per link that was created");
    }
    assert_eq!(at_once.as_ref().map(contents), expected(&webhooks));

    let again = merge(at_once.as_ref(), &webhooks);
    assert_eq!(again.after, None, "what was merged once is stale");
}

/// A webhook out of a few bytes, with few instants and values so that many are equal.
fn webhook(bytes: &mut impl Iterator<Item = u8>) -> Webhook {
    let mut next = || bytes.next().unwrap_or(0);
    let kind = [Kind::Created, Kind::Updated, Kind::Updated, Kind::Reconnected][usize::from(next() % 4)];
    let timestamp = Timestamp::from_nanos(i64::from(next() % 6)).expect("after 1970");
    let fields = u16::from_be_bytes([next(), next()]);
    let carried = Field::ALL.into_iter().enumerate().filter(|(place, field)| match kind {
        Kind::Reconnected => *field == Field::LastEventId && fields & 1 == 1,
        _ => *field == Field::CustomerId || fields >> place & 1 == 1,
    });
    let carried = carried.map(|(_, field)| (field, char::from(b'a' + next() % 3).to_string())).collect();
    Webhook { entity_id: Uuid::from_u128(7), timestamp, kind, carried }
}

/// Merges batch by batch; a reconnect of a link that is not there yet comes again with the next batch. The row, and how
/// often it was announced.
fn merge_all(mut batches: Vec<Vec<&Webhook>>) -> (Option<BankLink>, usize) {
    batches.push(Vec::new());
    let (mut row, mut linked, mut again): (Option<BankLink>, usize, Vec<&Webhook>) = (None, 0, Vec::new());
    for batch in batches {
        let batch: Vec<&Webhook> = again.drain(..).chain(batch).collect();
        let merged = merge(row.as_ref(), batch.iter().copied());
        assert_eq!(merged.results.len(), batch.len(), "an outcome for each");
        let applied = merged.results.contains(&DeliveryResult::Handled(Outcome::Applied));
        assert_eq!(merged.after.is_some(), applied, "a row is written exactly if something was applied");
        let unknown =
            batch.iter().zip(&merged.results).filter(|(_, result)| matches!(result, DeliveryResult::Failed(_)));
        again = unknown.map(|(webhook, _)| *webhook).collect();
        if let Some(after) = merged.after {
            assert_eq!(after.revision, row.as_ref().map_or(0, |row| row.revision) + 1, "one step");
            let events = event::for_change(row.as_ref(), &after, "/banklink");
            linked += events.iter().filter(|event| event.event_type == "customer.bank_linked").count();
            row = Some(after);
        }
    }
    (row, linked)
}

/// What a row holds, but for the number of its writes, which may differ.
type Contents = ([Option<FieldValue>; 12], Option<Timestamp>, Option<Timestamp>, Timestamp);

fn contents(row: &BankLink) -> Contents {
    (row.fields.clone(), row.linked_at, row.reconnected_at, row.version)
}

/// What must be held, whatever the order: of each field the greatest instant and value that anybody carries.
fn expected(webhooks: &[Webhook]) -> Option<Contents> {
    let of = |kind: Kind| webhooks.iter().filter(move |webhook| webhook.kind == kind).map(|webhook| webhook.timestamp);
    of(Kind::Created).chain(of(Kind::Updated)).next()?;
    let newest = |field: Field| {
        let held =
            webhooks.iter().flat_map(|webhook| webhook.carried.iter().map(|carried| (webhook.timestamp, carried)));
        let held = held.filter(|(_, (carried, _))| *carried == field);
        held.map(|(since, (_, value))| FieldValue { since, value: value.clone() }).max()
    };
    let version = webhooks.iter().map(|webhook| webhook.timestamp).max()?;
    Some((Field::ALL.map(newest), of(Kind::Created).min(), of(Kind::Reconnected).max(), version))
}

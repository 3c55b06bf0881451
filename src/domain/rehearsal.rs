//! A rehearsal for subscribers: events about made-up bank links, repeated, reordered and late, and what a correct subscriber
//! holds after them (docs/SUBSCRIBERS.md#rehearse). Pure; the same id gives the same events.
//!
//! The events are those that the rules of this module make of made-up webhooks, so they are what the relay would publish,
//! and the attribute [`ATTRIBUTE`] marks them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::bank_link::{BankLink, merge};
use super::event::{Event, for_change};
use super::field::Field;
use super::link_data::LinkData;
use super::timestamp::Timestamp;
use super::webhook::{Kind, Webhook};

/// The CloudEvents extension attribute of events that are made up. Its value is the id of the rehearsal.
pub const ATTRIBUTE: &str = "rehearsal";
/// The CloudEvents `source` of these events.
const SOURCE: &str = "urn:banklink:rehearsal";
/// When the first made-up link is created: 2026-01-01T00:00:00Z, in nanoseconds.
const BEGIN: i64 = 1_767_225_600_000_000_000;
const HOUR: i64 = 3_600_000_000_000;
const ALL_PERMISSIONS: &str = r#"["accounts","balance","identity","transactions"]"#;

/// The order in which a link's five events are sent, by their position in its history: with the others, and after them all.
/// Each event is sent twice.
const ORDERS: [(&[usize], &[usize]); 4] = [
    // Each event twice in a row.
    (&[0, 0, 1, 1, 2, 2, 3, 3, 4, 4], &[]),
    // The newest first, then the history again.
    (&[4, 3, 2, 1, 0, 0, 1, 2, 3, 4], &[]),
    // The event that announces the link comes last but for repeats.
    (&[3, 4, 1, 4], &[0, 2, 1, 3, 2, 0]),
    // In order, and all of it again, late.
    (&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4]),
];

/// An event to be sent.
#[derive(Clone, Debug)]
pub struct RehearsedEvent {
    /// The CloudEvents `id`.
    pub id: Uuid,
    /// The CloudEvents `type`.
    pub event_type: &'static str,
    /// The event as JSON.
    pub json: String,
}

/// What a correct subscriber holds about one link.
#[derive(Clone, Debug, Serialize)]
pub struct ExpectedLink {
    /// The made-up entity.
    pub entity_id: Uuid,
    /// How many events of each type it has handled, each id once.
    pub events: BTreeMap<&'static str, usize>,
    /// The `data` of the event with the greatest revision.
    pub data: Value,
}

/// The events in the order in which they are sent, and what they lead to.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// In the order in which they are sent.
    pub events: Vec<RehearsedEvent>,
    /// By link.
    pub expected: Vec<ExpectedLink>,
}

/// The rehearsal `id` with `links` made-up links.
#[must_use]
pub fn rehearsal(id: &str, links: usize) -> Rehearsal {
    let histories: Vec<(BankLink, Vec<Event>)> = (0..links).map(|index| history(id, index)).collect();
    let (mut soon, mut late) = (Vec::new(), Vec::new());
    for (index, (_, events)) in histories.iter().enumerate() {
        let (with_the_others, after_all) = ORDERS[index % ORDERS.len()];
        let place =
            |(step, position): (usize, &usize)| events.get(*position).map(|event| (step, index, marked(event, id)));
        soon.extend(with_the_others.iter().enumerate().filter_map(place));
        late.extend(after_all.iter().enumerate().filter_map(place));
    }
    // The links' events alternate.
    soon.sort_by_key(|(step, index, _)| (*step, *index));
    late.sort_by_key(|(step, index, _)| (*step, *index));
    let events = soon.into_iter().chain(late).map(|(_, _, event)| event).collect();
    Rehearsal { events, expected: histories.iter().map(|(link, events)| expected(link, events)).collect() }
}

/// The last state of a made-up link, and its five events: linked, restricted, reconnected, and restored (every fourth link:
/// revoked) and reconnected in one change, whose two events have the same revision.
fn history(id: &str, index: usize) -> (BankLink, Vec<Event>) {
    let entity_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("urn:banklink:rehearsal:{id}:{index}").as_bytes());
    let offset = i64::try_from(index).unwrap_or_default() * 1_000_000;
    let webhook = |hours: i64, kind, carried: &[(Field, &str)]| Webhook {
        entity_id,
        timestamp: Timestamp::from_nanos(BEGIN + offset + hours * HOUR).unwrap_or(Timestamp::EPOCH),
        kind,
        carried: carried.iter().map(|(field, value)| (*field, (*value).to_owned())).collect(),
        unreadable: Vec::new(),
    };
    // Two links of each customer.
    let customer = format!("rehearsal-{id}-{}", index / 2);
    let created = [
        (Field::CustomerId, customer.as_str()),
        (Field::BankIdentifier, if index.is_multiple_of(2) { "LEANMB1" } else { "LEANMB2" }),
        (Field::BankName, "Lean Mock Bank"),
        (Field::Permissions, ALL_PERMISSIONS),
    ];
    let last = if index % ORDERS.len() == ORDERS.len() - 1 { "[]" } else { ALL_PERMISSIONS };
    let changes = [
        vec![webhook(0, Kind::Created, &created)],
        vec![webhook(1, Kind::Updated, &[(Field::Permissions, r#"["accounts"]"#)])],
        vec![webhook(2, Kind::Reconnected, &[])],
        vec![webhook(3, Kind::Updated, &[(Field::Permissions, last)]), webhook(4, Kind::Reconnected, &[])],
    ];
    let (mut link, mut events) = (None, Vec::new());
    for webhooks in &changes {
        if let Some(after) = merge(link.as_ref(), webhooks).after {
            events.extend(for_change(link.as_ref(), &after, SOURCE));
            link = Some(after);
        }
    }
    (link.unwrap_or_else(|| BankLink::empty(entity_id, Timestamp::EPOCH)), events)
}

/// The event with the mark of the rehearsal.
fn marked(event: &Event, id: &str) -> RehearsedEvent {
    let mut json: Value = serde_json::from_str(&event.json).unwrap_or_default();
    json[ATTRIBUTE] = id.into();
    RehearsedEvent { id: event.id, event_type: event.event_type, json: json.to_string() }
}

fn expected(link: &BankLink, events: &[Event]) -> ExpectedLink {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.event_type).or_default() += 1;
    }
    let data = serde_json::to_string(&LinkData::from(link)).unwrap_or_default();
    ExpectedLink { entity_id: link.entity_id, events: counts, data: serde_json::from_str(&data).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_sent_twice_and_marked() {
        let rehearsal = rehearsal("r1", 9);
        let mut sent: BTreeMap<Uuid, usize> = BTreeMap::new();
        for event in &rehearsal.events {
            *sent.entry(event.id).or_default() += 1;
            let json: Value = serde_json::from_str(&event.json).unwrap();
            assert_eq!((json[ATTRIBUTE].as_str(), json["type"].as_str()), (Some("r1"), Some(event.event_type)));
        }
        assert_eq!(sent.len(), 9 * 5);
        assert!(sent.values().all(|times| *times == 2), "{sent:?}");
        assert_eq!(rehearsal.expected.len(), 9);
        assert!(rehearsal.expected.iter().all(|link| link.events.values().sum::<usize>() == 5), "{rehearsal:?}");
    }

    #[test]
    fn a_link_is_announced_after_its_updates_and_one_ends_without_permissions() {
        let rehearsal = rehearsal("r1", 4);
        let of_third =
            rehearsal.events.iter().filter(|event| event.json.contains(&rehearsal.expected[2].entity_id.to_string()));
        let types: Vec<_> = of_third.map(|event| event.event_type).collect();
        assert_eq!(types.iter().position(|event_type| *event_type == "customer.bank_linked"), Some(4), "{types:?}");
        assert_eq!(rehearsal.expected[3].data["permissions"], serde_json::json!([]));
        assert_eq!(rehearsal.expected[3].data["revision"], 4);
    }

    #[test]
    fn the_same_id_gives_the_same_events_and_another_id_others() {
        let ids = |id| rehearsal(id, 2).events.into_iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids("a"), ids("a"));
        assert_ne!(ids("a"), ids("b"));
    }
}

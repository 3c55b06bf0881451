//! Checks the events: computes from the row images which events subscribers are owed, by docs/CONTRACT.md#which-events-follow-a-change,
//! and compares them with the events that arrived.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use testkit::published::event_faults;
use uuid::Uuid;

use crate::row_images::{PUBLISHED_COLUMNS, RowImage};
use crate::verdict::Verdict;

/// Where an event's data contains each of the [`PUBLISHED_COLUMNS`].
const POINTERS: [&str; PUBLISHED_COLUMNS.len()] = [
    "/customer_id",
    "/app_user_id",
    "/bank/identifier",
    "/bank/name",
    "/bank/logo",
    "/bank/main_color",
    "/bank/background_color",
    "/bank/swift_code",
    "/bank/account_type",
    "/bank/type",
];

/// The events that are owed, by id: each with its type and the row image that it describes.
type Owed<'a> = HashMap<Uuid, (&'static str, &'a RowImage)>;

/// Each event that is owed arrived at least once, and no other event; the published schema allows all of them. The order of `arrived` does not matter.
pub(crate) fn check_events(images: &[RowImage], arrived: &[Value], verdict: &mut Verdict) {
    let owed = owed_events(images, verdict);
    let mut seen = HashMap::<Uuid, &Value>::new();
    for event in arrived {
        for fault in event_faults(event) {
            verdict.add(format!("the published schema does not allow {event}: {fault}"));
        }
        let id = event["id"].as_str().and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_default();
        match (owed.get(&id), seen.insert(id, event)) {
            (None, _) => {
                verdict.doubled += 1;
                verdict.add(format!("an event that follows from no change: {event}"));
            }
            (_, Some(other)) if other != event => verdict.add(format!("two events with one id: {other} and {event}")),
            (_, Some(_)) => verdict.repeated_events += 1,
            (Some((event_type, image)), None) if !describes(event, event_type, image) => {
                verdict.add(format!("{event} does not describe {image:?}"));
            }
            (Some(_), None) => {}
        }
    }
    for (id, (event_type, image)) in owed.iter().filter(|(id, _)| !seen.contains_key(id)) {
        let RowImage { entity_id, revision, .. } = image;
        verdict.lost += 1;
        verdict.add(format!("{event_type} {id} of bank link {entity_id}, revision {revision}, never arrived"));
    }
    verdict.events = owed.len();
}

/// Also checks that the revisions of a bank link are 1, 2, 3, … and that no event is owed twice.
fn owed_events<'a>(images: &'a [RowImage], verdict: &mut Verdict) -> Owed<'a> {
    let mut by_entity = BTreeMap::<&str, Vec<&RowImage>>::new();
    for image in images {
        by_entity.entry(&image.entity_id).or_default().push(image);
    }
    let mut owed = HashMap::new();
    for (entity, images) in by_entity {
        let mut before = None;
        for (change, image) in (1..).zip(images) {
            if image.revision != change {
                verdict.add(format!("bank link {entity}: change {change} has revision {}", image.revision));
            }
            for (event_type, id) in events_of_change(before, image) {
                if owed.insert(id, (event_type, image)).is_some() {
                    verdict.doubled += 1;
                    verdict.add(format!("bank link {entity}: {event_type} is owed twice"));
                }
            }
            before = Some(image);
        }
    }
    owed
}

/// The types and ids of the events that follow a change.
fn events_of_change(before: Option<&RowImage>, after: &RowImage) -> Vec<(&'static str, Uuid)> {
    if after.linked_at.is_none() {
        return Vec::new();
    }
    let (entity, revision) = (&after.entity_id, after.revision);
    let id = |name: String| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    let with_revision =
        |event_type: &'static str| (event_type, id(format!("urn:banklink:{event_type}:{entity}:{revision}")));
    let mut events = Vec::new();
    match before.filter(|before| before.linked_at.is_some()) {
        None => events.push(("customer.bank_linked", id(format!("urn:banklink:customer.bank_linked:{entity}")))),
        Some(before) if before.published != after.published || before.permissions != after.permissions => {
            events.push(with_revision("customer.bank_link_updated"));
        }
        Some(_) => {}
    }
    if after.reconnected_at > before.and_then(|before| before.reconnected_at) {
        events.push(with_revision("customer.bank_reconnected"));
    }
    events
}

fn describes(event: &Value, event_type: &str, image: &RowImage) -> bool {
    let data = &event["data"];
    event["type"] == event_type
        && data["entity_id"] == image.entity_id.as_str()
        && data["revision"] == image.revision
        && data["version"] == image.version
        && data["permissions"] == image.permissions
        && POINTERS.iter().zip(&image.published).all(|(pointer, value)| data.pointer(pointer) == Some(value))
}

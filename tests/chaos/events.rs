//! Which events subscribers are owed, worked out from the images of the bank links and the contract's table; and whether
//! they came.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use uuid::Uuid;

use crate::audit::{Image, LOOKS};
use crate::judge::Verdict;

/// Where each look is found in an event's data.
const IN_AN_EVENT: [&str; LOOKS.len()] = [
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

/// Judges the events that arrived, in any order and any number, by the changes there were.
pub(crate) fn judge(images: &[Image], arrived: &[Value], verdict: &mut Verdict) {
    let mut owed = HashMap::new();
    for (entity, images) in by_entity(images) {
        let mut before: Option<&Image> = None;
        for (step, image) in (1..).zip(images) {
            if image.revision != step {
                verdict.bad(format!("bank link {entity}: change {step} has revision {}", image.revision));
            }
            for (event_type, id) in follow(before, image) {
                if owed.insert(id, (event_type, image)).is_some() {
                    verdict.doubled += 1;
                    verdict.bad(format!("bank link {entity}: {event_type} is owed twice"));
                }
            }
            before = Some(image);
        }
    }
    let mut seen = HashMap::<Uuid, &Value>::new();
    for event in arrived {
        let id = event["id"].as_str().and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_default();
        match (owed.get(&id), seen.insert(id, event)) {
            (None, _) => {
                verdict.doubled += 1;
                verdict.bad(format!("an event that follows from no change: {event}"));
            }
            (_, Some(other)) if other != event => verdict.bad(format!("two events with one id: {other} and {event}")),
            (_, Some(_)) => verdict.repeated_events += 1,
            (Some((event_type, image)), None) => {
                if !tells(event, event_type, image) {
                    verdict.bad(format!("{event} does not tell of {image:?}"));
                }
            }
        }
    }
    for (id, (event_type, image)) in owed.iter().filter(|(id, _)| !seen.contains_key(id)) {
        verdict.lost += 1;
        verdict
            .bad(format!("{event_type} {id} of bank link {}, revision {}, never came", image.entity, image.revision));
    }
    verdict.events = owed.len();
}

fn by_entity(images: &[Image]) -> BTreeMap<&str, Vec<&Image>> {
    let mut by_entity = BTreeMap::<&str, Vec<&Image>>::new();
    for image in images {
        by_entity.entry(&image.entity).or_default().push(image);
    }
    by_entity
}

/// The contract's table of events, with their ids.
fn follow(before: Option<&Image>, after: &Image) -> Vec<(&'static str, Uuid)> {
    if after.linked_at.is_none() {
        return Vec::new();
    }
    let id = |name: String| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    let (entity, revision) = (&after.entity, after.revision);
    let of_revision =
        |event_type: &'static str| (event_type, id(format!("urn:banklink:{event_type}:{entity}:{revision}")));
    let mut events = Vec::new();
    match before.filter(|before| before.linked_at.is_some()) {
        None => events.push(("customer.bank_linked", id(format!("urn:banklink:customer.bank_linked:{entity}")))),
        Some(before) if before.looks != after.looks || before.permissions != after.permissions => {
            events.push(of_revision("customer.bank_link_updated"));
        }
        Some(_) => {}
    }
    if after.reconnected_at > before.and_then(|before| before.reconnected_at) {
        events.push(of_revision("customer.bank_reconnected"));
    }
    events
}

fn tells(event: &Value, event_type: &str, image: &Image) -> bool {
    let data = &event["data"];
    event["type"] == event_type
        && data["entity_id"] == image.entity.as_str()
        && data["revision"] == image.revision
        && data["version"] == image.version
        && data["permissions"] == image.permissions
        && IN_AN_EVENT.iter().zip(&image.looks).all(|(place, look)| data.pointer(place) == Some(look))
}

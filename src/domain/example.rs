//! Examples of events, for the published documents: what the rules of this module make of Lean's own example of a webhook.

use serde_json::Value;

use super::bank_link::{BankLink, merge};
use super::event::{Change, for_change};
use super::timestamp::Timestamp;
use super::webhook::{self, Parsed, Webhook};

/// Webhooks about one link, in order: the one in Lean's documentation, a restriction of the consent, a reconnect.
const WEBHOOKS: [&str; 3] = [
    r##"{"type":"entity.created","payload":{"id":"f08fb010-878f-407a-9ac2-a7840fb56185","customer_id":"6bc2336a-6d74-4e59-a492-65313423a8f","permissions":["transactions","balance","identity","accounts"],"bank_details":{"name":"Lean Mock Bank","identifier":"LEANMB2","logo":"","main_color":"#1beb75","background_color":"#001E26"}},"timestamp":"2020-10-10T17:19:00.059933Z"}"##,
    r#"{"type":"entity.updated","payload":{"id":"f08fb010-878f-407a-9ac2-a7840fb56185","customer_id":"6bc2336a-6d74-4e59-a492-65313423a8f","permissions":["accounts"]},"timestamp":"2020-10-11T08:00:00Z"}"#,
    r#"{"type":"entity.reconnected","payload":{"id":"f08fb010-878f-407a-9ac2-a7840fb56185"},"timestamp":"2020-10-12T08:00:00Z"}"#,
];

/// An event of that kind.
#[must_use]
pub(super) fn event(change: Change) -> Value {
    let mut link: Option<BankLink> = None;
    for webhook in WEBHOOKS.iter().filter_map(|body| parse(body)) {
        let after = merge(link.as_ref(), [&webhook]).after.or_else(|| link.clone());
        let events = after.as_ref().map(|after| for_change(link.as_ref(), after, "/banklink")).unwrap_or_default();
        if let Some(event) = events.into_iter().find(|event| event.event_type == change.event_type()) {
            return serde_json::from_str(&event.json).unwrap_or_default();
        }
        link = after;
    }
    Value::Null
}

fn parse(body: &str) -> Option<Webhook> {
    match webhook::parse(body.as_bytes(), Timestamp::EPOCH, Timestamp::now()) {
        Ok(Parsed::Link(webhook)) => Some(webhook),
        _ => None,
    }
}

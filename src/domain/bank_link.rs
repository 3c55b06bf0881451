//! The bank link, and how webhooks change it (docs/CONTRACT.md#how-rows-change).
//!
//! A bank link is a last-writer-wins map: each field keeps the timestamp of the webhook that its value is from, and
//! only a newer value replaces it. So rows converge whatever the order, number and batching of webhooks, and a webhook
//! never erases a field that it does not carry. The worker and a replay's dry run both call [`merge`].

use uuid::Uuid;

use super::failure::{Failure, FailureClass};
use super::field::Field;
use super::outcome::{DeliveryResult, Outcome};
use super::timestamp::Timestamp;
use super::webhook::{Kind, Webhook};

/// A field's value with its timestamp. They are ordered by timestamp, then by the bytes of the value, and a merge keeps
/// the greater one, so that the result does not depend on the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldValue {
    /// The timestamp of the webhook that carried the value.
    pub timestamp: Timestamp,
    /// The text as it was sent; permissions as a sorted JSON array of names.
    pub value: String,
}

/// One customer's relationship with one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankLink {
    /// Lean's entity id.
    pub entity_id: Uuid,
    /// The value of each [`Field`], in the order of [`Field::ALL`].
    pub fields: [Option<FieldValue>; Field::COUNT],
    /// The timestamp of the earliest `entity.created`.
    pub linked_at: Option<Timestamp>,
    /// The timestamp of the latest `entity.reconnected`.
    pub reconnected_at: Option<Timestamp>,
    /// The timestamp of the newest webhook applied.
    pub version: Timestamp,
    /// Starts at 1 and increases by 1 with each write of the row.
    pub revision: i64,
}

impl BankLink {
    /// A bank link without any values, at revision 0.
    #[must_use]
    pub fn empty(entity_id: Uuid, version: Timestamp) -> Self {
        Self { entity_id, fields: Default::default(), linked_at: None, reconnected_at: None, version, revision: 0 }
    }

    /// The value of `field`.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&str> {
        self.fields[field as usize].as_ref().map(|field| field.value.as_str())
    }

    /// Whether customer, users, bank and permissions are equal: what `customer.bank_link_updated` reports.
    #[must_use]
    pub fn has_same_values(&self, other: &Self) -> bool {
        Field::ALL.into_iter().all(|field| field == Field::LastEventId || self.get(field) == other.get(field))
    }

    /// Takes over what is newer in `webhook`, and returns whether that changed anything.
    fn apply(&mut self, webhook: &Webhook) -> bool {
        let before = self.clone();
        let timestamp = webhook.timestamp;
        for (field, value) in &webhook.carried {
            let carried = Some(FieldValue { timestamp, value: value.clone() });
            let current = &mut self.fields[*field as usize];
            if carried > *current {
                *current = carried;
            }
        }
        match webhook.kind {
            Kind::Created => self.linked_at = Some(self.linked_at.unwrap_or(timestamp).min(timestamp)),
            Kind::Updated => {}
            Kind::Reconnected => self.reconnected_at = self.reconnected_at.max(Some(timestamp)),
        }
        self.version = self.version.max(timestamp);
        *self != before
    }
}

/// The result of merging a row with its webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The row to write, with the next revision; `None` if nothing changed.
    pub after: Option<BankLink>,
    /// The result of each webhook, in their order: applied, stale, or failed as there is no bank link to reconnect.
    pub results: Vec<DeliveryResult>,
}

/// Merges the row `before`, if any, with the webhooks about it, in queue order. However many webhooks change it, it is one
/// change of the row: `revision` increases by 1.
#[must_use]
pub fn merge<'a>(before: Option<&BankLink>, webhooks: impl IntoIterator<Item = &'a Webhook>) -> Merged {
    let mut link = before.cloned();
    let mut changed = false;
    let mut results = Vec::new();
    for webhook in webhooks {
        if link.is_none() && webhook.kind == Kind::Reconnected {
            let unknown = "payload.id: no bank link of this entity is known";
            results.push(DeliveryResult::Failed(Failure::new(FailureClass::UnknownEntity, unknown)));
            continue;
        }
        let is_new = link.is_none();
        let applied =
            link.get_or_insert_with(|| BankLink::empty(webhook.entity_id, webhook.timestamp)).apply(webhook) || is_new;
        changed |= applied;
        results.push(DeliveryResult::Handled(if applied { Outcome::Applied } else { Outcome::Stale }));
    }
    let after = link.filter(|_| changed).map(|link| BankLink { revision: link.revision + 1, ..link });
    Merged { after, results }
}

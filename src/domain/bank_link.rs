//! The bank link, and what webhooks do to it.
//!
//! A bank link is a map of fields in which the newest writer of each field wins: every value remembers the instant it is
//! from, and only something newer replaces it. So rows converge whatever the order, number and batching of webhooks, and
//! a field that a webhook does not carry is never erased by it. [`merge`] is all there is to it, for the worker and for a
//! dry run alike.

use uuid::Uuid;

use super::failure::Failure;
use super::field::Field;
use super::outcome::{DeliveryResult, Outcome};
use super::timestamp::Timestamp;
use super::webhook::{Kind, Webhook};

/// A value and the instant it is from. The greater one stays: the newer, and of one instant the greater text in byte
/// order, so that the order of arrival never decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldValue {
    /// The instant of the webhook that carried the value.
    pub since: Timestamp,
    /// The value: text as it was sent, permissions as their JSON.
    pub value: String,
}

/// One customer's relationship with one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankLink {
    /// Lean's entity id.
    pub entity_id: Uuid,
    /// What is known of each [`Field`], in the order of [`Field::ALL`].
    pub fields: [Option<FieldValue>; Field::COUNT],
    /// The time of the earliest `entity.created`.
    pub linked_at: Option<Timestamp>,
    /// The time of the latest `entity.reconnected`.
    pub reconnected_at: Option<Timestamp>,
    /// The instant of the newest webhook applied.
    pub version: Timestamp,
    /// 1, 2, 3, …: one for each write of the row.
    pub revision: i64,
}

impl BankLink {
    /// What is held for `field`.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&str> {
        self.fields[field as usize].as_ref().map(|held| held.value.as_str())
    }

    /// The granted permissions as a JSON array; none where no webhook has spoken of them.
    #[must_use]
    pub fn permissions(&self) -> &str {
        self.get(Field::Permissions).unwrap_or("[]")
    }

    /// Whether customer, app user, bank and permissions are the same in both: what subscribers are told of.
    #[must_use]
    pub fn looks_like(&self, other: &Self) -> bool {
        Field::ALL.into_iter().all(|field| match field {
            Field::LastEventId => true,
            Field::Permissions => self.permissions() == other.permissions(),
            _ => self.get(field) == other.get(field),
        })
    }

    /// A link of which nothing is known yet.
    #[must_use]
    pub fn unknown(entity_id: Uuid, version: Timestamp) -> Self {
        Self { entity_id, fields: Default::default(), linked_at: None, reconnected_at: None, version, revision: 0 }
    }

    /// Takes over what is newer than what is held; says whether anything was.
    fn apply(&mut self, webhook: &Webhook) -> bool {
        let before = self.clone();
        let instant = webhook.instant;
        for (field, value) in &webhook.carried {
            let carried = Some(FieldValue { since: instant, value: value.clone() });
            let held = &mut self.fields[*field as usize];
            if carried > *held {
                *held = carried;
            }
        }
        match webhook.kind {
            Kind::Created => self.linked_at = Some(self.linked_at.map_or(instant, |earliest| earliest.min(instant))),
            Kind::Updated => {}
            Kind::Reconnected => self.reconnected_at = self.reconnected_at.max(Some(instant)),
        }
        self.version = self.version.max(instant);
        *self != before
    }
}

/// What a row's webhooks, in queue order, make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The row to write, one revision further; `None` if nothing changed.
    pub after: Option<BankLink>,
    /// What each webhook came to, in the same order: applied, stale, or failed for want of a link to reconnect.
    pub results: Vec<DeliveryResult>,
}

/// Merges a row, or none, with the webhooks that speak of it: one change, one step of `revision`.
#[must_use]
pub fn merge<'a>(before: Option<&BankLink>, webhooks: impl IntoIterator<Item = &'a Webhook>) -> Merged {
    let mut link = before.cloned();
    let mut changed = false;
    let mut results = Vec::new();
    for webhook in webhooks {
        if link.is_none() && webhook.kind == Kind::Reconnected {
            results.push(DeliveryResult::Failed(Failure::unknown_entity()));
            continue;
        }
        let is_new = link.is_none();
        let applied =
            link.get_or_insert_with(|| BankLink::unknown(webhook.entity_id, webhook.instant)).apply(webhook) || is_new;
        changed |= applied;
        results.push(DeliveryResult::Handled(if applied { Outcome::Applied } else { Outcome::Stale }));
    }
    let after = link.filter(|_| changed).map(|link| BankLink { revision: link.revision + 1, ..link });
    Merged { after, results }
}

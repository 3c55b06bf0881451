//! A link of a customer to a bank, which Lean calls an entity, as webhooks and Lean's Data API show it.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::banks::Bank;
use super::dialect::Dialect;
use crate::domain::permissions;
use crate::domain::timestamp::Timestamp;

/// One entity.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) entity_id: Uuid,
    pub(super) customer_id: String,
    pub(super) bank: &'static Bank,
    /// What the customer has granted, in Lean's order.
    pub(super) permissions: Vec<&'static str>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

impl Link {
    /// The payload of `entity.created` and `entity.updated`.
    pub(super) fn payload(&self, dialect: Dialect) -> Value {
        let bank = self.bank;
        let mut payload = json!({
            "id": self.entity_id,
            "customer_id": self.customer_id,
            "permissions": self.permissions,
            "bank_details": {
                "name": bank.name,
                "identifier": bank.identifier,
                "logo": "",
                "main_color": bank.main_color,
                "background_color": bank.background_color,
                "account_type": bank.account_type(),
                "bank_type": bank.bank_type,
            },
        });
        if dialect == Dialect::Uae {
            payload["bank_details"]["swift_code"] = json!(bank.swift_code);
        }
        payload
    }

    /// The entity as Lean's Data API shows it: the bank's identifier only, and permissions as a map.
    pub(super) fn as_entity(&self) -> Value {
        let permissions: Map<String, Value> = permissions::DOCUMENTED
            .into_iter()
            .map(|permission| (permission.to_owned(), self.permissions.contains(&permission).into()))
            .collect();
        let is_revoked = self.permissions.is_empty();
        json!({
            "id": self.entity_id,
            "customer_id": self.customer_id,
            "bank_identifier": self.bank.identifier,
            "permissions": permissions,
            "bank_type": self.bank.bank_type,
            "created_at": self.created_at.rfc3339_micros(),
            "updated_at": self.updated_at.rfc3339_micros(),
            "status": "ACTIVE",
            "consents": [{
                "id": Uuid::new_v5(&self.entity_id, b"consent"),
                "consent_status": if is_revoked { "REVOKED" } else { "ACTIVE" },
                "permissions": permissions,
                "creation_date_time": self.updated_at.rfc3339_micros(),
            }],
        })
    }
}

//! Converts a webhook into the row and the event that follow from it.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The event's type and routing key.
pub(super) const LINKED: &str = "customer.bank_linked";

#[derive(Deserialize)]
struct Webhook {
    #[serde(rename = "type")]
    event_type: String,
    event_id: Option<String>,
    payload: Payload,
    timestamp: String,
}

#[derive(Deserialize)]
struct Payload {
    id: Uuid,
    customer_id: String,
    app_user_id: Option<String>,
    permissions: Vec<String>,
    bank_details: Bank,
}

#[derive(Deserialize)]
struct Bank {
    identifier: Option<String>,
    name: Option<String>,
    logo: Option<String>,
    main_color: Option<String>,
    background_color: Option<String>,
    swift_code: Option<String>,
    account_type: Option<String>,
    bank_type: Option<String>,
}

/// The columns of a new bank link, and the columns of its event.
pub(super) struct Linked {
    pub(super) entity_id: Uuid,
    pub(super) customer_id: String,
    pub(super) app_user_id: Option<String>,
    /// Identifier, name, logo, main colour, background colour, SWIFT code, account type, type.
    pub(super) bank: [Option<String>; 8],
    /// A JSON array.
    pub(super) permissions: String,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) version: i64,
    pub(super) last_event_id: Option<String>,
    pub(super) event_id: Uuid,
    /// The event as JSON.
    pub(super) event: String,
    pub(super) received_at: DateTime<Utc>,
}

impl Linked {
    pub(super) fn read(delivery: &Delivery) -> Result<Self> {
        let webhook: Webhook = serde_json::from_slice(&delivery.data)?;
        ensure!(webhook.event_type == "entity.created", "unexpected type {}", webhook.event_type);
        let Webhook { event_id, payload, timestamp, .. } = webhook;
        let Payload { id: entity_id, customer_id, app_user_id, mut permissions, bank_details: bank } = payload;
        let bank = [
            bank.identifier,
            bank.name,
            bank.logo,
            bank.main_color,
            bank.background_color,
            bank.swift_code,
            bank.account_type,
            bank.bank_type,
        ]
        .map(|text| text.filter(|text| !text.is_empty()));
        permissions.sort_unstable();
        let timestamp = DateTime::parse_from_rfc3339(&timestamp)?.to_utc();
        let version = timestamp.timestamp_nanos_opt().context("the timestamp is out of range")?;
        let mut link = Self {
            entity_id,
            customer_id,
            app_user_id,
            bank,
            permissions: serde_json::to_string(&permissions)?,
            occurred_at: timestamp.trunc_subsecs(6),
            version,
            last_event_id: event_id,
            event_id: Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("urn:banklink:{LINKED}:{entity_id}").as_bytes()),
            event: String::new(),
            received_at: received_at(delivery).context("x-received-at is missing or invalid")?.trunc_subsecs(6),
        };
        link.event = serde_json::to_string(&link.event(&permissions))?;
        Ok(link)
    }

    fn event<'a>(&'a self, permissions: &'a [String]) -> Event<'a> {
        let time = self.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let [identifier, name, logo, main_color, background_color, swift_code, account_type, bank_type] =
            self.bank.each_ref().map(Option::as_deref);
        Event {
            specversion: "1.0",
            id: self.event_id,
            source: "/banklink",
            event_type: LINKED,
            subject: &self.customer_id,
            time: time.clone(),
            datacontenttype: "application/json",
            dataschema: "urn:banklink:customer.bank_linked:1",
            data: Data {
                entity_id: self.entity_id,
                customer_id: &self.customer_id,
                app_user_id: self.app_user_id.as_deref(),
                revision: 1,
                version: self.version,
                bank: EventBank {
                    identifier,
                    name,
                    logo,
                    main_color,
                    background_color,
                    swift_code,
                    account_type,
                    bank_type,
                },
                permissions,
                linked_at: time,
                reconnected_at: None,
            },
        }
    }
}

fn received_at(delivery: &Delivery) -> Option<DateTime<Utc>> {
    match delivery.properties.headers().as_ref()?.inner().get("x-received-at")? {
        AMQPValue::LongString(text) => {
            Some(DateTime::parse_from_rfc3339(std::str::from_utf8(text.as_bytes()).ok()?).ok()?.to_utc())
        }
        _ => None,
    }
}

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'static str,
    #[serde(rename = "type")]
    event_type: &'static str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    dataschema: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    entity_id: Uuid,
    customer_id: &'a str,
    app_user_id: Option<&'a str>,
    revision: i64,
    version: i64,
    bank: EventBank<'a>,
    permissions: &'a [String],
    linked_at: String,
    reconnected_at: Option<String>,
}

#[derive(Serialize)]
struct EventBank<'a> {
    identifier: Option<&'a str>,
    name: Option<&'a str>,
    logo: Option<&'a str>,
    main_color: Option<&'a str>,
    background_color: Option<&'a str>,
    swift_code: Option<&'a str>,
    account_type: Option<&'a str>,
    #[serde(rename = "type")]
    bank_type: Option<&'a str>,
}

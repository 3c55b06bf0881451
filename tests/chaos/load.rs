//! The load: webhooks about bank links in any order, repeated, some with equal or old times, mixed with malformed and invalid
//! bodies, webhook types that banklink ignores, and posts without a valid signature. Each webhook knows how it has to end.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::bodies::{created, reconnect_time, reconnected, time};
use crate::rng::Rng;

/// How many bank links webhooks are drawn for at a time: few, so that workers write the same rows concurrently.
const ACTIVE_LINKS: usize = 25;
/// How many webhooks are kept to be sent again.
const MAX_REPEATABLE: usize = 400;
/// A valid time, for webhooks that are not merged.
const TIME: &str = "2026-06-01T00:00:00Z";

/// How a webhook has to end once it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Merged into its bank link: applied or stale.
    Merged,
    Ignored,
    /// A dead letter of this failure class.
    Dead(&'static str),
    /// Never accepted: it has no valid signature.
    Rejected,
}

/// One webhook, which may be posted several times.
#[derive(Debug)]
pub(crate) struct Webhook {
    /// Its position in the load.
    pub(crate) number: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) fate: Fate,
    /// The body as JSON; null if it is not JSON.
    pub(crate) json: Value,
}

impl Webhook {
    pub(crate) fn webhook_type(&self) -> &str {
        self.json["type"].as_str().unwrap_or_default()
    }

    pub(crate) fn entity_id(&self) -> &str {
        self.json["payload"]["id"].as_str().unwrap_or_default()
    }

    /// Whether it creates its bank link if there is none, so that a reconnect finds one.
    pub(crate) fn creates_link(&self) -> bool {
        self.fate == Fate::Merged && self.webhook_type() != "entity.reconnected"
    }
}

/// A bank link that webhooks are drawn for.
struct ActiveLink {
    id: Uuid,
    last_time: Option<String>,
    last_reconnect_time: Option<String>,
}

/// Draws the webhooks one after another.
pub(crate) struct Load {
    rng: Rng,
    number: u64,
    links: Vec<ActiveLink>,
    /// Webhooks that may be sent again.
    repeatable: Vec<Arc<Webhook>>,
    /// Webhooks to send later, each with the number from which it is due.
    scheduled: Vec<(u64, Arc<Webhook>)>,
}

impl Load {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, number: 0, links: Vec::new(), repeatable: Vec::new(), scheduled: Vec::new() }
    }

    /// The next webhook to post: a new one, or a repetition.
    pub(crate) fn draw(&mut self) -> Arc<Webhook> {
        self.number += 1;
        if let Some(due) = self.scheduled.iter().position(|(from, _)| *from <= self.number) {
            return self.scheduled.swap_remove(due).1;
        }
        let webhook = match self.rng.below(100) {
            0..15 if !self.repeatable.is_empty() => return Arc::clone(self.rng.choose(&self.repeatable)),
            0..18 => self.malformed(),
            18..22 => self.invalid(),
            22..25 => self.ignored(),
            25..28 => self.unsigned(),
            28 => self.reconnect_without_link(),
            29 => self.panicking(),
            30..35 => self.reconnect_before_link(),
            _ => self.merged(),
        };
        let webhook = Arc::new(webhook);
        if webhook.fate != Fate::Rejected {
            if self.repeatable.len() == MAX_REPEATABLE {
                let dropped = self.rng.index(&self.repeatable);
                self.repeatable.swap_remove(dropped);
            }
            self.repeatable.push(Arc::clone(&webhook));
        }
        webhook
    }

    /// A webhook that aborts each worker that handles it.
    pub(crate) fn aborting(rng: &mut Rng) -> Webhook {
        let mut json = created(rng.uuid(), TIME, rng);
        json["banklink_fault"] = json!("abort");
        Webhook { number: 0, body: json.to_string().into_bytes(), fate: Fate::Dead("delivery_limit"), json }
    }

    fn webhook(&self, json: Value, fate: Fate) -> Webhook {
        Webhook { number: self.number, body: json.to_string().into_bytes(), fate, json }
    }

    fn malformed(&mut self) -> Webhook {
        let unique = self.rng.uuid();
        let body = match self.rng.below(4) {
            0 => format!(r#"{{"type":"entity.created","payload":{{"id":"{unique}""#).into_bytes(),
            1 => format!("<webhook>{unique}</webhook>").into_bytes(),
            2 => [unique.to_string().as_bytes(), &[0xff, 0xfe, 0x00]].concat(),
            _ => format!(r#"{{"type":"entity.created"}} {{"again":"{unique}"}}"#).into_bytes(),
        };
        Webhook { number: self.number, body, fate: Fate::Dead("malformed_json"), json: Value::Null }
    }

    fn invalid(&mut self) -> Webhook {
        let mut json = created(self.rng.uuid(), TIME, &mut self.rng);
        match self.rng.below(8) {
            0 => json["payload"]["id"] = Value::Null,
            1 => json["payload"]["id"] = json!("not-a-uuid"),
            2 => json["payload"]["customer_id"] = json!(""),
            3 => json["payload"]["customer_id"] = json!("c".repeat(129)),
            4 => json["payload"]["bank_details"]["name"] = json!("a\0b"),
            5 => json["timestamp"] = json!("yesterday"),
            6 => json["timestamp"] = json!("1969-12-31T23:59:59Z"),
            _ => json["timestamp"] = json!("2099-01-01T00:00:00Z"),
        }
        self.webhook(json, Fate::Dead("invalid_webhook"))
    }

    fn ignored(&mut self) -> Webhook {
        let types = ["results.ready", "payment.created", "entity.data.refresh.updated", "something.new"];
        let mut json = created(self.rng.uuid(), "2099-01-01T00:00:00Z", &mut self.rng);
        json["type"] = json!(self.rng.choose(&types));
        self.webhook(json, Fate::Ignored)
    }

    fn unsigned(&mut self) -> Webhook {
        let json = created(self.rng.uuid(), TIME, &mut self.rng);
        self.webhook(json, Fate::Rejected)
    }

    /// A reconnect of a bank link that is never created.
    fn reconnect_without_link(&mut self) -> Webhook {
        let json = reconnected(self.rng.uuid(), TIME, &mut self.rng);
        self.webhook(json, Fate::Dead("unknown_entity"))
    }

    fn panicking(&mut self) -> Webhook {
        let mut json = created(self.rng.uuid(), TIME, &mut self.rng);
        json["banklink_fault"] = json!("panic");
        self.webhook(json, Fate::Dead("panicked"))
    }

    /// A reconnect that is sent before the webhook that creates its bank link.
    fn reconnect_before_link(&mut self) -> Webhook {
        let id = self.rng.uuid();
        let from = self.number + 1 + self.rng.below(20);
        let json = created(id, &time(&mut self.rng), &mut self.rng);
        self.scheduled.push((from, Arc::new(self.webhook(json, Fate::Merged))));
        let json = reconnected(id, &reconnect_time(&mut self.rng), &mut self.rng);
        self.webhook(json, Fate::Merged)
    }

    /// A webhook about a new bank link or one of the active ones.
    fn merged(&mut self) -> Webhook {
        let rng = &mut self.rng;
        if self.links.len() < ACTIVE_LINKS || rng.percent(8) {
            let id = rng.uuid();
            if self.links.len() == ACTIVE_LINKS {
                let retired = rng.index(&self.links);
                self.links.swap_remove(retired);
            }
            self.links.push(ActiveLink { id, last_time: None, last_reconnect_time: None });
            let time = time(rng);
            let mut json = created(id, &time, rng);
            // An entity.updated also creates the bank link, but does not set `linked_at`.
            if rng.percent(10) {
                json["type"] = json!("entity.updated");
            }
            return self.webhook(json, Fate::Merged);
        }
        let index = rng.index(&self.links);
        let link = &mut self.links[index];
        let json = match rng.below(10) {
            0..2 => {
                let time = same_or_new(&mut link.last_reconnect_time, rng, reconnect_time);
                reconnected(link.id, &time, rng)
            }
            kind => {
                let time = same_or_new(&mut link.last_time, rng, time);
                let mut json = created(link.id, &time, rng);
                if kind > 4 {
                    json["type"] = json!("entity.updated");
                }
                json
            }
        };
        self.webhook(json, Fate::Merged)
    }
}

/// In one of five cases exactly the last time, if there is one; else a new one, which becomes the last.
fn same_or_new(last: &mut Option<String>, rng: &mut Rng, new: fn(&mut Rng) -> String) -> String {
    match last {
        Some(last) if rng.percent(20) => last.clone(),
        _ => last.insert(new(rng)).clone(),
    }
}

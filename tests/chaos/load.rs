//! What is posted: webhooks about bank links that come in any order, several times, with equal and ancient times, among
//! garbage, types that are none of our business, and posts that nobody signed. Each knows what has to become of it.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::bodies::{created, reconnected, time, time_of_a_reconnect};
use crate::chance::Chance;

/// So many bank links are spoken of at a time: few enough that workers meet on the same rows.
const AT_A_TIME: usize = 25;
/// So many webhooks are remembered, to be sent again.
const REMEMBERED: usize = 400;

/// What has to become of a webhook that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Merged into its bank link.
    Merged,
    /// Nothing.
    Ignored,
    /// Dead, of that class.
    Dies(&'static str),
    /// It is never accepted: it is not signed.
    Refused,
}

/// One webhook, which may be posted several times.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) number: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) fate: Fate,
    /// The body, where it is JSON.
    pub(crate) json: Value,
}

impl Webhook {
    pub(crate) fn kind(&self) -> &str {
        self.json["type"].as_str().unwrap_or_default()
    }

    pub(crate) fn entity(&self) -> &str {
        self.json["payload"]["id"].as_str().unwrap_or_default()
    }

    /// Whether it makes a bank link, so that a reconnect finds one.
    pub(crate) fn makes_a_link(&self) -> bool {
        self.fate == Fate::Merged && self.kind() != "entity.reconnected"
    }
}

struct Link {
    id: Uuid,
    times: Vec<String>,
    reconnected: Vec<String>,
}

/// The webhooks, one after another.
pub(crate) struct Load {
    chance: Chance,
    number: u64,
    links: Vec<Link>,
    remembered: Vec<Arc<Webhook>>,
    /// What follows later, and after which number.
    owed: Vec<(u64, Arc<Webhook>)>,
}

impl Load {
    pub(crate) fn new(chance: Chance) -> Self {
        Self { chance, number: 0, links: Vec::new(), remembered: Vec::new(), owed: Vec::new() }
    }

    /// The next one to post: now and then one that was posted before.
    pub(crate) fn draw(&mut self) -> Arc<Webhook> {
        self.number += 1;
        if let Some(due) = self.owed.iter().position(|(after, _)| *after <= self.number) {
            return self.owed.swap_remove(due).1;
        }
        let webhook = match self.chance.below(100) {
            0..15 if !self.remembered.is_empty() => return Arc::clone(self.chance.pick(&self.remembered)),
            0..18 => self.malformed(),
            18..22 => self.invalid(),
            22..25 => self.ignored(),
            25..28 => self.unsigned(),
            28 => self.orphan(),
            29 => self.panicking(),
            30..35 => self.early(),
            _ => self.about_a_link(),
        };
        let webhook = Arc::new(webhook);
        if webhook.fate != Fate::Refused {
            if self.remembered.len() == REMEMBERED {
                let forgotten = self.chance.place(&self.remembered);
                self.remembered.swap_remove(forgotten);
            }
            self.remembered.push(Arc::clone(&webhook));
        }
        webhook
    }

    /// A webhook that aborts the worker each time it is handled.
    pub(crate) fn aborting(chance: &mut Chance) -> Webhook {
        let mut json = created(chance.uuid(), "2026-06-01T00:00:00Z", chance);
        json["banklink_fault"] = json!("abort");
        Webhook { number: 0, body: json.to_string().into_bytes(), fate: Fate::Dies("delivery_limit"), json }
    }

    fn webhook(&self, json: Value, fate: Fate) -> Webhook {
        Webhook { number: self.number, body: json.to_string().into_bytes(), fate, json }
    }

    fn malformed(&mut self) -> Webhook {
        let unique = self.chance.uuid();
        let body = match self.chance.below(4) {
            0 => format!(r#"{{"type":"entity.created","payload":{{"id":"{unique}""#).into_bytes(),
            1 => format!("<webhook>{unique}</webhook>").into_bytes(),
            2 => [unique.to_string().as_bytes(), &[0xff, 0xfe, 0x00]].concat(),
            _ => format!(r#"{{"type":"entity.created"}} {{"again":"{unique}"}}"#).into_bytes(),
        };
        Webhook { number: self.number, body, fate: Fate::Dies("malformed_json"), json: Value::Null }
    }

    fn invalid(&mut self) -> Webhook {
        let mut json = created(self.chance.uuid(), "2026-06-01T00:00:00Z", &mut self.chance);
        match self.chance.below(8) {
            0 => json["payload"]["id"] = Value::Null,
            1 => json["payload"]["id"] = json!("not-a-uuid"),
            2 => json["payload"]["customer_id"] = json!(""),
            3 => json["payload"]["customer_id"] = json!("c".repeat(129)),
            4 => json["payload"]["bank_details"]["name"] = json!("a\0b"),
            5 => json["timestamp"] = json!("yesterday"),
            6 => json["timestamp"] = json!("1969-12-31T23:59:59Z"),
            _ => json["timestamp"] = json!("2099-01-01T00:00:00Z"),
        }
        self.webhook(json, Fate::Dies("invalid_webhook"))
    }

    fn ignored(&mut self) -> Webhook {
        let kinds = ["results.ready", "payment.created", "entity.data.refresh.updated", "something.new"];
        let mut json = created(self.chance.uuid(), "2099-01-01T00:00:00Z", &mut self.chance);
        json["type"] = json!(self.chance.pick(&kinds));
        self.webhook(json, Fate::Ignored)
    }

    fn unsigned(&mut self) -> Webhook {
        let json = created(self.chance.uuid(), "2026-06-01T00:00:00Z", &mut self.chance);
        self.webhook(json, Fate::Refused)
    }

    /// A reconnect of a bank link that never comes.
    fn orphan(&mut self) -> Webhook {
        let json = reconnected(self.chance.uuid(), "2026-06-01T00:00:00Z", &mut self.chance);
        self.webhook(json, Fate::Dies("unknown_entity"))
    }

    fn panicking(&mut self) -> Webhook {
        let mut json = created(self.chance.uuid(), "2026-06-01T00:00:00Z", &mut self.chance);
        json["banklink_fault"] = json!("panic");
        self.webhook(json, Fate::Dies("panicked"))
    }

    /// A reconnect that overtakes the webhook that makes its bank link.
    fn early(&mut self) -> Webhook {
        let id = self.chance.uuid();
        let later = self.number + 1 + self.chance.below(20);
        let json = created(id, &time(&mut self.chance), &mut self.chance);
        self.owed.push((later, Arc::new(self.webhook(json, Fate::Merged))));
        let json = reconnected(id, &time_of_a_reconnect(&mut self.chance), &mut self.chance);
        self.webhook(json, Fate::Merged)
    }

    fn about_a_link(&mut self) -> Webhook {
        let chance = &mut self.chance;
        if self.links.len() < AT_A_TIME || chance.percent(8) {
            let id = chance.uuid();
            if self.links.len() == AT_A_TIME {
                let retired = chance.place(&self.links);
                self.links.swap_remove(retired);
            }
            self.links.push(Link { id, times: Vec::new(), reconnected: Vec::new() });
            let time = time(chance);
            let mut json = created(id, &time, chance);
            // An entity.updated makes a bank link as well; only an entity.created announces it.
            if chance.percent(10) {
                json["type"] = json!("entity.updated");
            }
            return self.webhook(json, Fate::Merged);
        }
        let place = chance.place(&self.links);
        let link = &mut self.links[place];
        let json = match chance.below(10) {
            0..2 => {
                let time = again_or(&link.reconnected, chance, time_of_a_reconnect);
                link.reconnected.push(time.clone());
                reconnected(link.id, &time, chance)
            }
            kind => {
                let time = again_or(&link.times, chance, time);
                link.times.push(time.clone());
                let mut json = created(link.id, &time, chance);
                if kind > 4 {
                    json["type"] = json!("entity.updated");
                }
                json
            }
        };
        self.webhook(json, Fate::Merged)
    }
}

/// One time in five exactly the last one's time.
fn again_or(times: &[String], chance: &mut Chance, fresh: fn(&mut Chance) -> String) -> String {
    match times.last() {
        Some(last) if chance.percent(20) => last.clone(),
        _ => fresh(chance),
    }
}

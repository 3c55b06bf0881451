//! What the simulator remembers: links and webhooks, with ids drawn from the seed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

use super::banks::{BANKS, Bank};
use super::dialect::Dialect;
use super::link::Link;
use super::webhook::{Kind, Webhook};
use crate::domain::timestamp::Timestamp;

/// Maximum number of links. Further ones are refused.
const MAX_LINKS: usize = 100_000;
/// Maximum number of webhooks that are listed. The oldest is forgotten first, as is what is older than [`MAX_AGE_NANOS`].
const MAX_WEBHOOKS: usize = 100_000;
/// Lean lists webhooks for 90 days.
const MAX_AGE_NANOS: i64 = 90 * 24 * 60 * 60 * 1_000_000_000;
/// Maximum number of reconnects that have been offered and not been used. The oldest is forgotten first.
const MAX_RECONNECTS: usize = 1_000;

/// Links and webhooks.
pub(super) struct Records {
    dialect: Dialect,
    ids: Rng,
    /// The oldest first.
    links: Vec<Link>,
    by_entity: HashMap<Uuid, usize>,
    by_customer: HashMap<String, Vec<usize>>,
    /// The id of a reconnect, and the entity that it is for.
    reconnects: VecDeque<(Uuid, Uuid)>,
    /// The oldest first.
    webhooks: VecDeque<Arc<Webhook>>,
    newest: Timestamp,
}

impl Records {
    pub(super) fn new(dialect: Dialect, seed: u64) -> Self {
        Self {
            dialect,
            ids: Rng::with_seed(seed),
            links: Vec::new(),
            by_entity: HashMap::new(),
            by_customer: HashMap::new(),
            reconnects: VecDeque::new(),
            webhooks: VecDeque::new(),
            newest: Timestamp::EPOCH,
        }
    }

    /// An id that the seed determines: a UUID of version 4.
    pub(super) fn draw_id(&mut self) -> Uuid {
        Builder::from_random_bytes(self.ids.u128(..).to_be_bytes()).into_uuid()
    }

    /// A bank that the seed determines.
    pub(super) fn draw_bank(&mut self) -> &'static Bank {
        self.ids.choice(&BANKS).unwrap_or(&BANKS[0])
    }

    /// Whether that many links more can be kept.
    pub(super) fn has_room_for(&self, links: usize) -> bool {
        self.links.len() + links <= MAX_LINKS
    }

    /// Adds a link, and returns the `entity.created`.
    pub(super) fn create(
        &mut self,
        customer_id: &str,
        bank: &'static Bank,
        permissions: Vec<&'static str>,
    ) -> (Uuid, Arc<Webhook>) {
        let (entity_id, now) = (self.draw_id(), self.next_timestamp());
        let customer_id = customer_id.to_owned();
        let index = self.links.len();
        self.by_entity.insert(entity_id, index);
        self.by_customer.entry(customer_id.clone()).or_default().push(index);
        let link = Link { entity_id, customer_id, bank, permissions, created_at: now, updated_at: now };
        let payload = link.payload(self.dialect);
        self.links.push(link);
        (entity_id, self.announce(Kind::Created, &payload, now))
    }

    /// Changes the permissions of the customer's newest link with that bank, if there is one, and returns the `entity.updated`.
    pub(super) fn update(
        &mut self,
        customer_id: &str,
        bank: &Bank,
        permissions: &[&'static str],
    ) -> Option<Arc<Webhook>> {
        let indices = self.by_customer.get(customer_id)?.iter().rev();
        let index = indices.copied().find(|index| self.links[*index].bank.identifier == bank.identifier)?;
        let now = self.next_timestamp();
        let link = &mut self.links[index];
        (link.permissions, link.updated_at) = (permissions.to_vec(), now);
        let payload = link.payload(self.dialect);
        Some(self.announce(Kind::Updated, &payload, now))
    }

    /// Offers a reconnect of the entity; returns its id, or `None` if there is no such entity of that customer.
    pub(super) fn offer_reconnect(&mut self, customer_id: &str, entity_id: Uuid) -> Option<Uuid> {
        self.link(customer_id, entity_id)?;
        let id = self.draw_id();
        if self.reconnects.len() >= MAX_RECONNECTS {
            self.reconnects.pop_front();
        }
        self.reconnects.push_back((id, entity_id));
        Some(id)
    }

    /// Uses an offered reconnect up, and returns the `entity.reconnected`; `None` if it was not offered.
    pub(super) fn reconnect(&mut self, reconnect_id: Uuid) -> Option<Arc<Webhook>> {
        let index = self.reconnects.iter().position(|(id, _)| *id == reconnect_id)?;
        let (_, entity_id) = self.reconnects.remove(index)?;
        let now = self.next_timestamp();
        Some(self.announce(Kind::Reconnected, &json!({ "id": entity_id, "reconnect_id": reconnect_id }), now))
    }

    /// The link of that customer with that id.
    pub(super) fn link(&self, customer_id: &str, entity_id: Uuid) -> Option<&Link> {
        self.links.get(*self.by_entity.get(&entity_id)?).filter(|link| link.customer_id == customer_id)
    }

    /// The links of a customer, the oldest first.
    pub(super) fn links_of(&self, customer_id: &str) -> impl Iterator<Item = &Link> {
        self.by_customer.get(customer_id).into_iter().flatten().filter_map(|index| self.links.get(*index))
    }

    /// Every link, the oldest first.
    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }

    /// The webhooks of the last 90 days, the oldest first. Their timestamps differ.
    pub(super) fn webhooks(&self) -> impl Iterator<Item = &Arc<Webhook>> {
        let now = Timestamp::now();
        self.webhooks.iter().filter(move |webhook| !now.is_later_than(webhook.timestamp, MAX_AGE_NANOS))
    }

    fn announce(&mut self, kind: Kind, payload: &Value, timestamp: Timestamp) -> Arc<Webhook> {
        let webhook = Arc::new(Webhook::new(kind, payload, timestamp, self.draw_id(), self.dialect));
        if self.webhooks.len() >= MAX_WEBHOOKS {
            self.webhooks.pop_front();
        }
        self.webhooks.push_back(Arc::clone(&webhook));
        webhook
    }

    /// The current time, or the smallest one after the last.
    fn next_timestamp(&mut self) -> Timestamp {
        let after_newest = Timestamp::from_nanos(self.newest.nanos() + 1).unwrap_or(self.newest);
        self.newest = Timestamp::now().max(after_newest);
        self.newest
    }
}

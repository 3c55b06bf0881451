//! The simulator's state, under one lock: each change of a link begins the delivery of its webhook.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::banks::Bank;
use super::deliveries::Deliveries;
use super::fate::Odds;
use super::records::Records;
use super::settings::Settings;
use super::timetable::Timetable;
use super::tokens::Tokens;
use super::webhook::{Kind, Webhook};

/// Why a link is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The bounds on links or on waiting webhooks are reached.
    #[error("no room for more links or waiting webhooks: restart the simulator, or start what accepts its webhooks")]
    Full,
    /// A reconnect that was not offered.
    #[error("unknown reconnect_id: it was used already, or the simulator was restarted")]
    UnknownReconnect,
}

/// What requests and deliveries share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// The customer of a page whose address names none.
    pub(super) default_customer: String,
    pub(super) tokens: Mutex<Tokens>,
    state: Mutex<State>,
    /// Notified when a post may have become due.
    pub(super) changed: Notify,
    /// For webhooks and for the read API. Follows no redirects.
    pub(super) http: reqwest::Client,
    pub(super) stop: CancellationToken,
}

/// Links, webhooks and deliveries.
pub(super) struct State {
    pub(super) records: Records,
    pub(super) deliveries: Deliveries,
    odds: Odds,
    fates: Rng,
}

impl Shared {
    pub(super) fn new(settings: Settings, http: reqwest::Client, stop: CancellationToken) -> Arc<Self> {
        let mut records = Records::new(settings.dialect, settings.seed);
        let default_customer = records.draw_id().to_string();
        let state = State {
            records,
            deliveries: Deliveries::new(Timetable::new(settings.time_scale)),
            odds: settings.odds,
            // Another sequence than that of the ids, so that neither depends on how much of the other was used.
            fates: Rng::with_seed(!settings.seed),
        };
        let tokens = Mutex::new(Tokens::new(settings.token_lifetime));
        let (state, changed) = (Mutex::new(state), Notify::new());
        Arc::new(Self { settings, default_customer, tokens, state, changed, http, stop })
    }

    /// Locks the state. It is never locked across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a customer to a bank: a new link, or new permissions of the link that they have.
    pub(super) fn connect(
        &self,
        customer_id: &str,
        bank: &'static Bank,
        permissions: Vec<&'static str>,
    ) -> Result<Kind, Refused> {
        let kind = {
            let mut state = self.state();
            state.check_room(1)?;
            let webhook = match state.records.update(customer_id, bank, &permissions) {
                Some(webhook) => webhook,
                None => state.records.create(customer_id, bank, permissions).1,
            };
            let kind = webhook.kind;
            state.begin(webhook);
            kind
        };
        self.changed.notify_one();
        Ok(kind)
    }

    /// Carries out a reconnect that was offered.
    pub(super) fn reconnect(&self, reconnect_id: Uuid) -> Result<(), Refused> {
        {
            let mut state = self.state();
            state.check_room(1)?;
            let webhook = state.records.reconnect(reconnect_id).ok_or(Refused::UnknownReconnect)?;
            state.begin(webhook);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Creates `count` new links with every permission, of one customer or each of a new one. Returns entities and customers.
    pub(super) fn create_links(&self, count: usize, customer_id: Option<&str>) -> Result<Vec<(Uuid, String)>, Refused> {
        let links = {
            let mut state = self.state();
            state.check_room(count)?;
            let create = |_| {
                let bank = state.records.draw_bank();
                let customer_id = match customer_id {
                    Some(customer_id) => customer_id.to_owned(),
                    None => state.records.draw_id().to_string(),
                };
                let permissions = self.settings.dialect.permissions_at(bank).collect();
                let (entity_id, webhook) = state.records.create(&customer_id, bank, permissions);
                state.begin(webhook);
                (entity_id, customer_id)
            };
            (0..count).map(create).collect()
        };
        self.changed.notify_one();
        Ok(links)
    }
}

impl State {
    fn check_room(&self, links: usize) -> Result<(), Refused> {
        let has_room = self.records.has_room_for(links) && self.deliveries.has_room_for(links);
        has_room.then_some(()).ok_or(Refused::Full)
    }

    fn begin(&mut self, webhook: Arc<Webhook>) {
        let fate = self.odds.draw(&mut self.fates);
        self.deliveries.begin(webhook, fate, Instant::now());
    }
}

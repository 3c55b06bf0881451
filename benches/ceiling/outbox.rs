//! The events of the outbox, as both databases return them, and their publisher.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use lapin::Channel;
use uuid::Uuid;

use super::event::{CONTENT_TYPE, LINKED};
use crate::broker;

/// Deliveries in one transaction, and events in one claim.
pub(super) const BATCH_SIZE: usize = 256;
const DEADLINE: Duration = Duration::from_secs(60);

/// An event from the outbox: id, routing key, JSON.
pub(super) type OutboxEvent = (Uuid, String, String);

pub(super) struct EventPublisher {
    pub(super) channel: Channel,
    pub(super) exchange: String,
}

impl EventPublisher {
    /// Publishes all events at once, and waits for every confirm.
    pub(super) async fn publish(&self, events: &[OutboxEvent]) -> Result<()> {
        let published = events.iter().map(|(id, routing_key, json)| {
            let properties = broker::properties(&id.to_string(), CONTENT_TYPE).with_type(LINKED.into());
            broker::publish(&self.channel, &self.exchange, routing_key, json.as_bytes(), properties)
        });
        tokio::time::timeout(DEADLINE, try_join_all(published)).await.context("no confirms arrive")??;
        Ok(())
    }
}

//! Deliveries that need a copy while RabbitMQ has blocked publishing. They are held unacknowledged, and the others go on: the
//! backlog may be what keeps RabbitMQ's alarm up.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Worker;
use super::classify::ClassifiedDelivery;
use super::outage_backoff::BatchReleased;
use super::report::record_settlement;
use crate::broker::{self, Consumer};

/// Maximum time for which deliveries are held, below RabbitMQ's `consumer_timeout` (30 min by default).
const MAX_AGE: Duration = Duration::from_secs(20 * 60);
/// How often publishing is tried again while deliveries are held and no batch arrives.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The deliveries of one consumer that wait until they can be copied.
#[derive(Default)]
pub struct HeldDeliveries {
    deliveries: Vec<ClassifiedDelivery>,
    since: Option<Instant>,
}

impl HeldDeliveries {
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether that many more may be held: then at least half of `prefetch` is left for others.
    pub(super) fn have_room(&self, more: usize, prefetch: u16) -> bool {
        self.deliveries.len() + more <= usize::from(prefetch) / 2
    }

    pub(super) fn hold(&mut self, deliveries: Vec<ClassifiedDelivery>) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            warn!("holding webhooks that need a copy: RabbitMQ has blocked publishing; others are processed");
        }
        self.deliveries.extend(deliveries);
    }
}

impl Worker {
    /// Settles the held deliveries, if messages can be published again.
    ///
    /// # Errors
    /// [`BatchReleased`] if they were held too long, or the consumer was lost. All unacknowledged deliveries return to the queue.
    pub(super) async fn settle_held(
        &self,
        consumer: &mut Consumer,
        held: &mut HeldDeliveries,
    ) -> Result<(), BatchReleased> {
        if held.is_empty() {
            return Ok(());
        }
        if let Err(cause) = self.publisher.ready() {
            if held.since.is_some_and(|since| since.elapsed() > MAX_AGE) {
                self.gate.require_publishing();
                return Err(BatchReleased::Outage(cause.to_string()));
            }
            return Ok(());
        }
        // Those of an earlier channel have returned to the queue; a copy would double them.
        held.deliveries.retain(|delivery| consumer.owns(&delivery.parsed.delivery));
        // Their batch is over; its span has ended.
        let parent = held.deliveries.first().and_then(|first| first.parsed.message().traceparent.clone());
        let mut settled = self.settle(consumer, &mut held.deliveries, parent.as_deref()).await;
        settled.deliveries.iter_mut().for_each(|delivery| record_settlement(delivery, &self.unknown_types));
        settled.acknowledged?;
        if held.is_empty() {
            let after = held.since.take().map(|since| since.elapsed());
            info!(?after, "no webhook is held any more");
        }
        Ok(())
    }

    /// Whether `outage` is an alarm, which blocks publishing and nothing else. The first publish after it began goes unanswered.
    pub(super) fn is_alarm(&self, outage: &broker::Error) -> bool {
        let is_blocked = |error: &broker::Error| matches!(error, broker::Error::Blocked);
        is_blocked(outage) || self.publisher.ready().is_err_and(|error| is_blocked(&error))
    }
}

//! One batch of webhooks from start to finish.

use std::time::Instant;

use super::Worker;
use super::classify::classify;
use super::held::HeldDeliveries;
use super::outage_backoff::{BatchReleased, OutageBackoff};
use super::parse::parse_batch;
use super::report::{record_batch, record_settlement};
use crate::broker::{Consumer, Delivery};
use crate::domain::timestamp::Timestamp;
use crate::failpoints::failpoint;

impl Worker {
    /// Handles one batch from `consumer`: parse, write, classify, settle, report.
    ///
    /// An unavailable dependency delays the batch and costs no attempt. During an alarm of RabbitMQ, deliveries that need a copy
    /// are added to `held`, and the batch ends without them.
    ///
    /// # Errors
    /// [`BatchReleased`] if the consumer was lost, the process is stopping during an outage, or the outage lasted too long.
    /// Deliveries that were not acknowledged return to the queue.
    pub async fn handle(
        &self,
        consumer: &mut Consumer,
        batch: Vec<Delivery>,
        held: &mut HeldDeliveries,
    ) -> Result<(), BatchReleased> {
        let (started, deliveries) = (Instant::now(), batch.len());
        let mut backoff = OutageBackoff::new(&self.gate, &self.stop);

        let parsed = parse_batch(batch);
        let results = loop {
            match self.write(&parsed).await {
                Ok(results) => break results,
                Err(outage) => backoff.wait(&outage, consumer).await?,
            }
        };
        let schedule = self.publisher.connection().topology().schedule();
        let mut unsettled = classify(parsed, results, schedule, Timestamp::now());
        failpoint("before settling");
        while !unsettled.is_empty() {
            let settled = self.settle(consumer, &mut unsettled).await;
            settled.deliveries.iter().for_each(|delivery| record_settlement(delivery, &self.unknown_types));
            settled.acknowledged?;
            if let Some(outage) = settled.outage {
                if self.is_alarm(&outage) && held.have_room(unsettled.len(), self.settings.prefetch) {
                    consumer.handled(unsettled.iter().map(|delivery| &delivery.parsed.delivery));
                    held.hold(std::mem::take(&mut unsettled));
                    break;
                }
                backoff.wait(&outage, consumer).await.inspect_err(|_| self.gate.require_publishing())?;
            }
        }

        backoff.finish();
        record_batch(deliveries, started.elapsed());
        Ok(())
    }
}

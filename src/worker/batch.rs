//! One batch of webhooks from start to finish: parse, write, classify, settle, report.

use std::collections::HashSet;
use std::time::Instant;

use uuid::Uuid;

use super::Worker;
use super::classify::{ClassifiedDelivery, classify};
use super::held::HeldDeliveries;
use super::outage_backoff::{BatchReleased, OutageBackoff};
use super::parse::{ParsedDelivery, parse_batch};
use super::report::{record_batch, record_settlement};
use super::spans::{self, BatchSpan, RELEASED};
use super::write::{Writer, row_ids};
use crate::broker::{Consumer, ConsumerStatus, Delivery};
use crate::domain::timestamp::Timestamp;
use crate::failpoints::failpoint;

/// A batch that has been parsed.
pub(super) struct ParsedBatch {
    started: Instant,
    deliveries: Vec<ParsedDelivery>,
    span: BatchSpan,
    /// The ids of all rows that it may write to.
    pub(super) rows: HashSet<Uuid>,
}

/// A batch that has been written: it is known what is to be done with each delivery.
pub(super) struct WrittenBatch {
    started: Instant,
    unsettled: Vec<ClassifiedDelivery>,
    span: BatchSpan,
}

impl ParsedBatch {
    /// Parses a batch from `consumer`.
    pub(super) fn parse(consumer: &Consumer, mut batch: Vec<Delivery>) -> Self {
        let started = Instant::now();
        let (span, spans) = spans::start(consumer, &mut batch);
        let deliveries = parse_batch(batch, spans);
        Self { started, rows: row_ids(&deliveries), deliveries, span }
    }
}

impl Worker {
    /// Handles one batch from `consumer`, with no other beside it.
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
        let parsed = ParsedBatch::parse(consumer, batch);
        let written = self.write_batch(&self.writer(), parsed, &consumer.status()).await?;
        self.settle_batch(consumer, written, held).await
    }

    /// Writes a batch, and again after each outage of the database, and classifies its deliveries.
    ///
    /// # Errors
    /// As [`Worker::handle`]; `consumer` is where the batch came from.
    pub(super) async fn write_batch(
        &self,
        writer: &Writer,
        batch: ParsedBatch,
        consumer: &ConsumerStatus,
    ) -> Result<WrittenBatch, BatchReleased> {
        let ParsedBatch { started, mut deliveries, mut span, .. } = batch;
        let mut backoff = OutageBackoff::new(&self.gate, &self.stop);
        let results = loop {
            let outage = match writer.write(&deliveries, span.context()).await {
                Ok(results) => break results,
                Err(outage) => outage,
            };
            if let Err(released) = backoff.wait(&outage, consumer).await {
                span.fail(RELEASED);
                deliveries.iter_mut().for_each(|delivery| delivery.span.fail(RELEASED));
                return Err(released);
            }
        };
        backoff.finish();
        let schedule = self.publisher.connection().topology().schedule();
        let unsettled = classify(deliveries, results, schedule, Timestamp::now());
        Ok(WrittenBatch { started, unsettled, span })
    }

    /// Settles a batch, and again after each outage of RabbitMQ, and reports it.
    ///
    /// # Errors
    /// As [`Worker::handle`].
    pub(super) async fn settle_batch(
        &self,
        consumer: &mut Consumer,
        batch: WrittenBatch,
        held: &mut HeldDeliveries,
    ) -> Result<(), BatchReleased> {
        let WrittenBatch { started, mut unsettled, mut span } = batch;
        let (deliveries, status) = (unsettled.len(), consumer.status());
        let mut backoff = OutageBackoff::new(&self.gate, &self.stop);
        failpoint("before settling");
        while !unsettled.is_empty() {
            let mut settled = self.settle(consumer, &mut unsettled, span.context()).await;
            settled.deliveries.iter_mut().for_each(|delivery| record_settlement(delivery, &self.unknown_types));
            settled.acknowledged?;
            if let Some(outage) = settled.outage {
                if self.is_alarm(&outage) && held.have_room(unsettled.len(), consumer.usual_prefetch()) {
                    consumer.handled(unsettled.iter().map(|delivery| &delivery.parsed.delivery));
                    held.hold(std::mem::take(&mut unsettled));
                    break;
                }
                if let Err(released) = backoff.wait(&outage, &status).await {
                    self.gate.require_publishing();
                    span.fail(RELEASED);
                    unsettled.iter_mut().for_each(|delivery| delivery.parsed.span.fail(RELEASED));
                    return Err(released);
                }
            }
        }
        backoff.finish();
        record_batch(deliveries, started.elapsed());
        Ok(())
    }
}

//! Two batches in flight: while the database writes one, the next one is received, parsed and sent.
//!
//! This hides the time that requests to the database are under way, and uses the processors while it waits for the disk. Batches that
//! are in flight together are about different bank links and dead letters. So each row changes in the order of the queue, and no
//! batch waits for a lock of another. A second batch is started only when it is full: without a backlog, batches follow each other.

use std::collections::HashSet;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Worker;
use super::batch::{ParsedBatch, WrittenBatch};
use super::in_order::InOrder;
use super::outage_backoff::BatchReleased;
use super::write::Writer;
use crate::broker::{Consumer, Delivery};

/// Maximum number of batches in flight.
const MAX_IN_FLIGHT: usize = 2;
/// How long after its start a batch may hold up those behind it. In order, one ack covers a batch; out of order it takes one for each
/// delivery, and RabbitMQ writes each to a log. A batch that waits for a lock delays the others by no more than this.
const ORDER_DEADLINE: Duration = Duration::from_millis(500);

/// The batches from one consumer that are being written. Dropping it rolls back their transactions.
pub(super) struct InFlight {
    /// One for each batch that may be started.
    idle: Vec<Writer>,
    /// Each with the rows that it may write to.
    batches: InOrder<HashSet<Uuid>, (Writer, Result<WrittenBatch, BatchReleased>)>,
}

/// What happens next.
pub(super) enum Next {
    /// A batch was received.
    Received(Vec<Delivery>),
    /// A batch in flight was written.
    Written(WrittenBatch),
}

impl InFlight {
    /// On SQLite, whose only connection is shared by all, one batch follows the other.
    pub(super) fn new(worker: &Worker) -> Self {
        let batches = if worker.store.has_parallel_writes() { MAX_IN_FLIGHT } else { 1 };
        Self { idle: (0..batches).map(|_| worker.writer()).collect(), batches: InOrder::new(ORDER_DEADLINE) }
    }

    /// Waits until a batch is written or, if another one may be started, received; up to `limit` deliveries. May be cancelled as
    /// [`Consumer::next_batch`].
    ///
    /// # Errors
    /// [`BatchReleased`] as [`Worker::handle`].
    pub(super) async fn next(&mut self, consumer: &mut Consumer, limit: usize) -> Result<Next, BatchReleased> {
        if self.is_empty() {
            return Ok(Next::Received(consumer.next_batch(limit).await?));
        }
        let may_start = !self.idle.is_empty();
        tokio::select! {
            biased;
            written = self.next_written() => Ok(Next::Written(written?)),
            batch = consumer.next_full_batch(limit), if may_start => Ok(Next::Received(batch?)),
        }
    }

    /// Waits until the oldest batch is written, or any once that takes longer than [`ORDER_DEADLINE`]. Never returns if none is in flight.
    pub(super) async fn next_written(&mut self) -> Result<WrittenBatch, BatchReleased> {
        match self.batches.next().await {
            Ok((writer, result)) => {
                self.idle.push(writer);
                result
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Only the runtime's end cancels a task.
                Err(_cancelled) => pending().await,
            },
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether `batch` has to wait: it may write to a row that one in flight writes to.
    pub(super) fn conflicts_with(&self, batch: &ParsedBatch) -> bool {
        self.batches.notes().any(|rows| !rows.is_disjoint(&batch.rows))
    }

    /// Starts to write `batch`, which came from `consumer`.
    pub(super) fn start(&mut self, worker: &Arc<Worker>, mut batch: ParsedBatch, consumer: &Consumer) {
        let (worker, writer) = (Arc::clone(worker), self.idle.pop().unwrap_or_else(|| worker.writer()));
        let (rows, consumer) = (std::mem::take(&mut batch.rows), consumer.status());
        self.batches.start(rows, async move {
            let result = worker.write_batch(&writer, batch, &consumer).await;
            (writer, result)
        });
    }
}

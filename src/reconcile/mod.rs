//! Reconciling: compares what Lean lists with what is here, and sends what is missing (docs/CONTRACT.md#10-reconciling-with-lean).
//!
//! The worker's own merge decides what is missing, so no table of seen ids is needed. A process may be killed at any moment: what it
//! sent twice is merged twice, which changes nothing, and only complete windows move the complete instant.

mod account;
mod entry;
mod error;
mod lease;
mod listing;
mod pace;
mod progress;
mod reader;
mod report;
mod role;
mod run;
mod send;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use error::Error;
pub use listing::Inconsistency;
pub use pace::Step;
pub use progress::{Missing, Progress};
pub use role::{Reconciler, Settings};
pub use run::{Continuity, Range};

use crate::broker::Publisher;
use crate::domain::listed::Source;
use crate::lean::Client;
use crate::store::reconcile_runs::{begin, end};
use crate::store::{self, Store};
use lease::Lease;
use reader::{Action, Reader};
use run::Run;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What it covered.
    pub range: Range,
    /// What the listed webhooks came to.
    pub progress: Progress,
    /// Up to when everything in the range is accounted for.
    pub complete_until: Option<DateTime<Utc>>,
    /// Why that is not the end of the range.
    pub failure: Option<Error>,
}

/// Where a run reads and writes.
#[derive(Clone, Copy)]
pub struct Reconciling<'a> {
    /// The database.
    pub store: &'a Store,
    /// Lean.
    pub client: &'a Client,
    /// Which list is read.
    pub source: Source,
}

impl Reconciling<'_> {
    /// Accounts for everything that Lean lists in `range`, and sends what is missing. Records the run in `reconcile_runs`.
    ///
    /// # Errors
    /// Any [`store::Error`], when the run cannot be begun. Every later failure is in the report, and [`Error::HeldBy`].
    pub async fn send_missing(
        &self,
        range: Range,
        publisher: &Publisher,
        stop: &CancellationToken,
        on_progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Report, store::Error> {
        let range = range.readable(self.source);
        let mut lease = match Lease::acquire(self.store).await {
            Ok(lease) => lease,
            Err(Error::Database(cause)) => return Err(cause),
            Err(failure) => {
                let (progress, failure) = (Progress::default(), Some(failure));
                return Ok(Report { range, progress, complete_until: None, failure });
            }
        };
        let report = self.send_with_lease(range, publisher, stop, on_progress, &mut lease).await;
        lease.release().await;
        report
    }

    async fn send_with_lease(
        &self,
        range: Range,
        publisher: &Publisher,
        stop: &CancellationToken,
        on_progress: &mut (dyn FnMut(&Progress) + Send),
        lease: &mut Lease,
    ) -> Result<Report, store::Error> {
        let id = begin(self.store, self.source, range.from, range.to).await?;
        let mut run = self.run(range, Action::Send(publisher), Some(id), on_progress);
        // Cancelling a run is harmless at any point, so the work is cancelled, too.
        let failure = tokio::select! {
            ended = run.run() => ended.err(),
            lost = lease.keep() => Some(lost),
            () = stop.cancelled() => Some(Error::Interrupted),
        };
        let (counts, text) = (&run.reader.progress.counts, failure.as_ref().map(ToString::to_string));
        if let Err(cause) = end(self.store, id, counts, run.recorded_until(), text).await {
            warn!(%cause, "cannot record the end of the run; the next one will");
        }
        Ok(report(&run, failure))
    }

    /// Lists what is missing in `range`, and writes nothing.
    pub async fn list_missing(
        &self,
        range: Range,
        stop: &CancellationToken,
        on_missing: &mut (dyn FnMut(&Missing) + Send),
        on_progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Report {
        let mut run = self.run(range.readable(self.source), Action::List(on_missing), None, on_progress);
        let failure = tokio::select! {
            ended = run.run() => ended.err(),
            () = stop.cancelled() => Some(Error::Interrupted),
        };
        report(&run, failure)
    }

    fn run<'r>(
        &'r self,
        range: Range,
        action: Action<'r>,
        id: Option<i64>,
        on_progress: &'r mut (dyn FnMut(&Progress) + Send),
    ) -> Run<'r> {
        let reader = Reader {
            store: self.store,
            client: self.client,
            action,
            on_progress,
            progress: Progress::default(),
            garbage: 0,
            seen: [HashSet::new(), HashSet::new()],
        };
        Run { reader, range, source: self.source, id, complete_until: None }
    }
}

fn report(run: &Run<'_>, failure: Option<Error>) -> Report {
    Report { range: run.range, progress: run.reader.progress, complete_until: run.complete_until, failure }
}

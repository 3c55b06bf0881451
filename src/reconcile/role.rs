//! The role `reconciler`: a run at an interval.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::Error;
use super::pace::{Pace, Step};
use super::report::{record_complete_until, register_metrics};
use super::run::Range;
use super::{Reconciling, Report};
use crate::broker::Publisher;
use crate::domain::listed::Source;
use crate::lean::Client;
use crate::readiness::{CachedCheck, Readiness, running};
use crate::store::reconcile_runs::complete_until;
use crate::store::{self, Store};

/// A run ends so long before now: a webhook that was sent just now is not missing, but on its way.
const IN_FLIGHT: TimeDelta = TimeDelta::minutes(1);

/// The settings of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which list is read.
    pub source: Source,
    /// From the end of what one run covers to that of the next run.
    pub every: Duration,
    /// How far before the last complete instant a run begins: Lean may list a webhook late.
    pub overlap: Duration,
}

/// The reconciler role.
pub struct Reconciler {
    settings: Settings,
    store: Store,
    client: Client,
    publisher: Publisher,
    database_check: CachedCheck,
    /// Whether [`Reconciler::run`] has begun, and so the schema is there.
    started: AtomicBool,
    stop: CancellationToken,
}

impl Reconciler {
    /// A reconciler that runs until `stop` is cancelled.
    #[must_use]
    pub fn new(
        settings: Settings,
        store: Store,
        client: Client,
        publisher: Publisher,
        stop: CancellationToken,
    ) -> Self {
        let (database_check, started) = (CachedCheck::default(), AtomicBool::new(false));
        Self { settings, store, client, publisher, database_check, started, stop }
    }

    /// Reconciles at an interval until `stop` is cancelled, which ends a run in progress.
    pub async fn run(&self) {
        register_metrics();
        self.started.store(true, Ordering::Relaxed);
        let mut pace = Pace::new(self.settings.every);
        while self.stop.run_until_cancelled(self.publisher.connection().until_ready()).await.is_some() {
            let result = self.step().await;
            if let Err(cause) = &result {
                warn!(%cause, "reconciling waits for the database");
            }
            let delay = pace.delay_after(&result);
            if self.stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                return;
            }
        }
    }

    /// Does one run, if one is due and no other process reconciles.
    ///
    /// # Errors
    /// Any [`store::Error`], when the database fails before the run has begun.
    pub async fn step(&self) -> Result<Step, store::Error> {
        let complete = complete_until(&self.store, self.settings.source).await?;
        if let Some(until) = complete {
            record_complete_until(until);
        }
        let every = TimeDelta::from_std(self.settings.every).unwrap_or(TimeDelta::MAX);
        let to = Utc::now() - IN_FLIGHT;
        if complete.is_some_and(|until| to - until < every) {
            return Ok(Step::NotDue);
        }
        let overlap = TimeDelta::from_std(self.settings.overlap).unwrap_or(TimeDelta::zero());
        let range = Range::new(None, Some(to), complete, overlap);
        let reconciling = Reconciling { store: &self.store, client: &self.client, source: self.settings.source };
        let report = reconciling.send_missing(range, &self.publisher, &self.stop, &mut |_| ()).await?;
        if let Some(Error::HeldBy(holder)) = report.failure {
            return Ok(Step::HeldBy(holder));
        }
        log(&report);
        if let Some(until) = report.complete_until.max(complete) {
            record_complete_until(until);
        }
        Ok(Step::Ran(report))
    }

    /// Whether the reconciler can do its job: started, connected, and the database answers. Lean is not checked.
    pub async fn readiness(&self) -> Readiness {
        let started = self.started.load(Ordering::Relaxed);
        let database = async { self.store.close_idle_on_error(self.store.ping().await).await };
        let database = self.database_check.check(database, store::Error::class).await;
        Readiness::new("reconciler")
            .check("process", running(&self.stop))
            .check("schema", if started { Ok(()) } else { Err("waiting for the database and its schema") })
            .check("broker", self.publisher.ready().map_err(|error| error.class()))
            .check("database", database)
    }
}

fn log(report: &Report) {
    let counts = &report.progress.counts;
    let (known, sent, dead, ignored) = (counts.known, counts.sent, counts.dead, counts.ignored);
    let complete_until = report.complete_until.map(|until| until.to_rfc3339());
    match &report.failure {
        Some(cause) => {
            warn!(%cause, known, sent, dead, ignored, complete_until, "reconciling is not complete");
        }
        None if sent > 0 => {
            warn!(known, sent, dead, ignored, complete_until, "webhooks were missing, and are sent now");
        }
        None => info!(known, sent, dead, ignored, complete_until, "reconciled"),
    }
}

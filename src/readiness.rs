//! Whether a role can do its job, as the admin address reports it (docs/CONTRACT.md#4-http).

use std::fmt::Display;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long the result of a [`CachedCheck`] is reused.
const PROBE_LIFETIME: Duration = Duration::from_secs(1);

/// A role, and each thing that it needs: whether that is there, or why not.
#[derive(Debug)]
pub struct Readiness {
    /// The role's name.
    pub role: &'static str,
    /// Each check by name. A failure is only classified: the admin address has no login, and the words of a database or a broker
    /// name users and hosts.
    pub checks: Vec<(&'static str, Result<(), &'static str>)>,
}

impl Readiness {
    /// A role without checks, which is ready.
    #[must_use]
    pub fn new(role: &'static str) -> Self {
        Self { role, checks: Vec::new() }
    }

    /// Adds the result of a check.
    #[must_use]
    pub fn check(mut self, name: &'static str, result: Result<(), &'static str>) -> Self {
        self.checks.push((name, result));
        self
    }

    /// Whether every check succeeded.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|(_, result)| result.is_ok())
    }
}

/// Whether the process is not stopping.
///
/// # Errors
/// Once `stop` is cancelled.
pub fn running(stop: &CancellationToken) -> Result<(), &'static str> {
    if stop.is_cancelled() { Err("the process is stopping") } else { Ok(()) }
}

/// A check that costs something. It runs at most once at a time, and its result is reused for one second.
#[derive(Default)]
pub struct CachedCheck(Mutex<Option<(Instant, Result<(), &'static str>)>>);

impl CachedCheck {
    /// The last result, or that of `probe` if it is too old. Logs an error whose class differs from the last result.
    ///
    /// # Errors
    /// The `class` of the probe's error.
    pub async fn check<E: Display>(
        &self,
        probe: impl Future<Output = Result<(), E>>,
        class: impl Fn(&E) -> &'static str,
    ) -> Result<(), &'static str> {
        let mut last = self.0.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < PROBE_LIFETIME
        {
            return *result;
        }
        let cause = probe.await;
        let result = cause.as_ref().map_err(class).copied();
        if let Err(cause) = &cause
            && last.is_none_or(|(_, last)| last != result)
        {
            warn!(%cause, "not ready");
        }
        *last = Some((Instant::now(), result));
        result
    }
}

//! Counts the dead letters now and then, for the metrics.

use std::time::Duration;

use chrono::Utc;
use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::domain::failure::FailureClass;
use crate::store::{self, Store, dead_letters};

const EVERY: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(5);

/// Keeps the gauges of dead letters true until `stop`.
pub(super) async fn keep(store: &Store, stop: &CancellationToken) {
    loop {
        match store::with_deadline(DEADLINE, dead_letters::counts(store)).await {
            Ok(census) => show(&census),
            Err(cause) => debug!(%cause, "cannot count the dead letters"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

fn show(census: &dead_letters::DeadLetterCounts) {
    for class in FailureClass::ALL.map(FailureClass::as_str) {
        let letters = census.by_class.iter().find(|(name, _)| name == class).map_or(0, |(_, letters)| *letters);
        gauge!("banklink_dead_letters", "class" => class).set(u32::try_from(letters).unwrap_or(u32::MAX));
    }
    let age = census.oldest.map_or(0, |oldest| Utc::now().signed_duration_since(oldest).num_seconds().max(0));
    gauge!("banklink_dead_letter_oldest_age_seconds").set(u32::try_from(age).unwrap_or(u32::MAX));
}

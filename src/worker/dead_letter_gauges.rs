//! Updates the gauges about dead letters.

use std::time::Duration;

use chrono::Utc;
use metrics::{Unit, describe_gauge, gauge};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::domain::failure::FailureClass;
use crate::store::letters::{FailureGroup, stats};
use crate::store::{self, Store};

const INTERVAL: Duration = Duration::from_secs(5);
/// Many dead letters take long to count. The pause after it is at least this many times as long, so that counting takes no more than a
/// twentieth of a processor of the database.
const PAUSE_FACTOR: u32 = 19;
const DEADLINE: Duration = Duration::from_secs(5);

/// Counts the dead letters at an interval until `stop`.
pub(super) async fn update(store: &Store, stop: &CancellationToken) {
    describe_gauge!("banklink_dead_letters", "Dead letters in state dead, by failure class.");
    describe_gauge!(
        "banklink_dead_letter_oldest_age_seconds",
        Unit::Seconds,
        "Age of the oldest dead letter in state dead; 0 without any."
    );
    loop {
        let start = Instant::now();
        let pause = match store::with_deadline(DEADLINE, stats(store)).await {
            Ok(groups) => {
                set_gauges(&groups);
                INTERVAL.max(start.elapsed() * PAUSE_FACTOR)
            }
            // In an outage it says nothing about the number of letters that this took long.
            Err(cause) => {
                debug!(%cause, "cannot count the dead letters");
                INTERVAL
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

fn set_gauges(groups: &[FailureGroup]) {
    for class in FailureClass::ALL.map(FailureClass::as_str) {
        let letters: i64 = groups.iter().filter(|group| group.failure_class == class).map(|group| group.count).sum();
        gauge!("banklink_dead_letters", "class" => class).set(u32::try_from(letters).unwrap_or(u32::MAX));
    }
    let oldest = groups.iter().map(|group| group.oldest).min();
    let age = oldest.map_or(0, |oldest| Utc::now().signed_duration_since(oldest).num_seconds().max(0));
    gauge!("banklink_dead_letter_oldest_age_seconds").set(u32::try_from(age).unwrap_or(u32::MAX));
}

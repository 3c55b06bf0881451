//! Metrics about reconciling (docs/CONTRACT.md#8-metrics).

use chrono::{DateTime, Utc};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::store::reconcile_runs::Counts;

const EVENTS: &str = "banklink_reconcile_events_total";
const COMPLETE_UNTIL: &str = "banklink_reconcile_complete_until_timestamp_seconds";

/// Describes the metrics and shows them from the start, at 0.
pub(super) fn register_metrics() {
    describe_counter!(EVENTS, "Webhooks that Lean lists, by what they came to.");
    describe_gauge!(
        COMPLETE_UNTIL,
        Unit::Seconds,
        "Every webhook that Lean lists up to this time is accounted for, in seconds since 1970; 0 if that was never so."
    );
    record(&Counts::default());
    gauge!(COMPLETE_UNTIL).set(0);
}

/// Counts the webhooks of one page.
pub(super) fn record(counts: &Counts) {
    let Counts { known, sent, dead, ignored } = *counts;
    for (outcome, webhooks) in [("known", known), ("sent", sent), ("dead", dead), ("ignored", ignored)] {
        counter!(EVENTS, "outcome" => outcome).increment(webhooks);
    }
}

/// Shows up to when everything is accounted for.
pub(super) fn record_complete_until(time: DateTime<Utc>) {
    gauge!(COMPLETE_UNTIL).set(time.timestamp_millis() as f64 / 1_000.0);
}

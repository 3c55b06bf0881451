//! Metrics and log lines about published events (docs/CONTRACT.md#8-metrics).

use chrono::Utc;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use tracing::debug;

use crate::store::outbox_claims::PendingEvent;

/// Counts and logs an event that RabbitMQ confirmed.
pub(super) fn record_published(event: &PendingEvent) {
    let latency = (Utc::now() - event.received_at).to_std().unwrap_or_default();
    histogram!("banklink_link_latency_seconds").record(latency);
    counter!("banklink_events_published_total", "type" => event.event_type.clone()).increment(1);
    debug!(event.id = %event.id, event.event_type, "published an event");
}

/// Describes the relay's metrics and shows its counters from the start, at 0.
pub(super) fn register_metrics() {
    describe_gauge!("banklink_outbox_pending", "Events that wait in the outbox.");
    describe_gauge!(
        "banklink_outbox_oldest_age_seconds",
        Unit::Seconds,
        "Age of the oldest event in the outbox; 0 without any."
    );
    describe_counter!("banklink_events_published_total", "Events that RabbitMQ confirmed, by type.");
    describe_histogram!(
        "banklink_link_latency_seconds",
        Unit::Seconds,
        "Time from the receipt of a webhook until RabbitMQ confirmed the event that it caused."
    );
    let _ = histogram!("banklink_link_latency_seconds");
    for event_type in ["customer.bank_linked", "customer.bank_link_updated", "customer.bank_reconnected"] {
        counter!("banklink_events_published_total", "type" => event_type).absolute(0);
    }
}

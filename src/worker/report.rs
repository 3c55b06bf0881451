//! Metrics and log lines about deliveries, written once they are settled (docs/CONTRACT.md#8-metrics).

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tracing::{debug, field, warn};

use super::classify::{ClassifiedDelivery, DEAD, Disposition, RETRIED};
use super::parse::ParsedDelivery;
use super::spans::DEFERRED;
use super::unknown_types::UnknownTypes;
use crate::domain::field::Field;
use crate::domain::optional_fields::UNREADABLE_BANK_DETAILS;
use crate::domain::outcome::Outcome;
use crate::domain::webhook::{IGNORED_TYPES, IgnoredType, OTHER_TYPE, Parsed, peek_type_and_entity};
use crate::telemetry::trace_id;

/// Describes the worker's metrics and shows its counters from the start, at 0.
pub(super) fn register_metrics() {
    describe_counter!("banklink_worker_deliveries_total", "Settled deliveries, by outcome.");
    describe_counter!("banklink_worker_ignored_total", "Webhooks that are not about a bank link, by published type.");
    describe_counter!(
        "banklink_worker_unreadable_fields_total",
        "Optional fields that could not be read and were left out, by field."
    );
    describe_gauge!("banklink_worker_paused", "1 while the worker waits for RabbitMQ or the database, else 0.");
    describe_histogram!("banklink_worker_batch_size", "Deliveries in a settled batch.");
    describe_histogram!(
        "banklink_worker_batch_duration_seconds",
        Unit::Seconds,
        "Time from the delivery of a batch until it is settled."
    );
    for outcome in Outcome::ALL.map(Outcome::as_str).into_iter().chain([RETRIED, DEAD]) {
        counter!("banklink_worker_deliveries_total", "outcome" => outcome).absolute(0);
    }
    for event_type in IGNORED_TYPES.into_iter().chain([OTHER_TYPE]) {
        counter!("banklink_worker_ignored_total", "type" => event_type).absolute(0);
    }
    for field in Field::ALL.map(Field::name).into_iter().chain([UNREADABLE_BANK_DETAILS]) {
        counter!("banklink_worker_unreadable_fields_total", "field" => field).absolute(0);
    }
    let _ = histogram!("banklink_worker_batch_size");
    let _ = histogram!("banklink_worker_batch_duration_seconds");
    gauge!("banklink_worker_paused").set(0);
}

/// Records a batch that is settled as a whole.
pub(super) fn record_batch(deliveries: usize, took: Duration) {
    histogram!("banklink_worker_batch_size").record(u32::try_from(deliveries).unwrap_or(u32::MAX));
    histogram!("banklink_worker_batch_duration_seconds").record(took);
}

/// Counts and logs one settled delivery, and completes its span.
pub(super) fn record_settlement(delivery: &mut ClassifiedDelivery, unknown_types: &UnknownTypes) {
    let ClassifiedDelivery { parsed, disposition } = delivery;
    let outcome = disposition.as_str();
    counter!("banklink_worker_deliveries_total", "outcome" => outcome).increment(1);
    describe(parsed, disposition);
    let message = parsed.message();
    match &parsed.webhook {
        Ok(Parsed::Link(webhook)) => {
            for field in &webhook.unreadable {
                counter!("banklink_worker_unreadable_fields_total", "field" => *field).increment(1);
            }
        }
        Ok(Parsed::Ignored(event_type)) => {
            counter!("banklink_worker_ignored_total", "type" => event_type.label()).increment(1);
            if let IgnoredType::Unknown(name) = event_type {
                unknown_types.log_once(name);
            }
        }
        Err(_) => {}
    }
    let entity_id = || peek_type_and_entity(&message.body).1.map(field::display);
    let trace_id = || trace_id(message.traceparent.as_deref());
    match disposition {
        Disposition::Ack(_) => debug!(message.id, message.attempt, outcome, "handled a webhook"),
        Disposition::Retry(delay, failure) => {
            let (class, reason) = (failure.class.as_str(), &failure.reason);
            warn!(message.id, message.attempt, trace.id = trace_id(), bank_link.entity_id = entity_id(), class, reason, retry_in = %delay,
                "a webhook failed and will be retried");
        }
        Disposition::Defer(delay, reason) => {
            warn!(message.id, message.attempt, trace.id = trace_id(), bank_link.entity_id = entity_id(), reason, retry_in = %delay,
                "deferred a webhook: its row cannot be written now, while other rows can");
        }
        Disposition::Dead(_, failure) => {
            let (class, reason) = (failure.class.as_str(), &failure.reason);
            warn!(
                message.id,
                message.attempt,
                trace.id = trace_id(),
                bank_link.entity_id = entity_id(),
                class,
                reason,
                "a webhook is dead"
            );
        }
    }
}

/// Says in a delivery's span what it came to.
fn describe(parsed: &mut ParsedDelivery, disposition: &Disposition) {
    if !parsed.span.is_recording() {
        return;
    }
    parsed.span.set("banklink.outcome", disposition.as_str());
    if let Ok(Parsed::Link(webhook)) = &parsed.webhook {
        parsed.span.set("bank_link.entity_id", webhook.entity_id.to_string());
    }
    match disposition {
        Disposition::Ack(_) => {}
        Disposition::Retry(_, failure) | Disposition::Dead(_, failure) => parsed.span.fail(failure.class.as_str()),
        Disposition::Defer(..) => parsed.span.fail(DEFERRED),
    }
}

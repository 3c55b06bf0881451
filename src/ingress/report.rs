//! The ingress's metrics (docs/CONTRACT.md#8-metrics). Each is looked up once, because that takes longer than to count.

use hyper::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// The statuses that the ingress answers with.
const STATUSES: [StatusCode; 9] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// The metrics, with the labels that are known beforehand, so that each shows before the first request.
pub(super) struct Metrics {
    requests: [Counter; STATUSES.len()],
    /// By the index of the secret that matched; the last one is for none.
    signatures: Vec<Counter>,
    pub(super) in_flight: Gauge,
    pub(super) request_duration: Histogram,
}

impl Metrics {
    /// Those of an ingress with this many secrets.
    pub(super) fn register(keys: usize) -> Self {
        describe_counter!("banklink_ingress_requests_total", Unit::Count, "Requests answered, by HTTP status.");
        describe_histogram!(
            "banklink_ingress_request_duration_seconds",
            Unit::Seconds,
            "Time from a request's headers to its answer, RabbitMQ's confirm included."
        );
        describe_gauge!("banklink_ingress_in_flight", Unit::Count, "Messages published and not yet confirmed.");
        describe_counter!(
            "banklink_ingress_signatures_total",
            Unit::Count,
            "Signatures verified, by the index of the secret in LEAN_WEBHOOK_SECRETS that matched, or none."
        );
        let key_labels = (0..keys).map(|index| index.to_string()).chain(["none".to_owned()]);
        let metrics = Self {
            requests: STATUSES
                .map(|status| counter!("banklink_ingress_requests_total", "status" => status.as_str().to_owned())),
            signatures: key_labels.map(|key| counter!("banklink_ingress_signatures_total", "key" => key)).collect(),
            in_flight: gauge!("banklink_ingress_in_flight"),
            request_duration: histogram!("banklink_ingress_request_duration_seconds"),
        };
        metrics.requests.iter().chain(&metrics.signatures).for_each(|counter| counter.absolute(0));
        metrics.in_flight.set(0);
        metrics
    }

    /// Counts an answer.
    pub(super) fn count_request(&self, status: StatusCode) {
        if let Some(index) = STATUSES.iter().position(|known| *known == status) {
            self.requests[index].increment(1);
        }
    }

    /// Counts a signature by the index of the secret that it was made with.
    pub(super) fn count_signature(&self, key: Option<usize>) {
        let index = key.unwrap_or(self.signatures.len().saturating_sub(1));
        if let Some(counter) = self.signatures.get(index) {
            counter.increment(1);
        }
    }
}

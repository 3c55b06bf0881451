//! The API's metrics (docs/CONTRACT.md#8-metrics).

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::OwnedSemaphorePermit;

use super::paths::{EVENTS, LINK, LINKS, OPENAPI};

const REQUESTS: &str = "banklink_api_requests_total";
const WAITING: &str = "banklink_api_waiting";

/// The label of requests for paths that do not exist.
pub(super) const NO_ROUTE: &str = "none";
/// The statuses that every route can answer with.
const STATUSES: [&str; 5] = ["200", "400", "401", "405", "503"];

/// The statuses that only some routes can answer with.
const OTHER_STATUSES: [(&str, &str); 4] = [(LINK, "304"), (LINK, "404"), (NO_ROUTE, "401"), (NO_ROUTE, "404")];

/// The metrics that are looked up once.
pub(super) struct Metrics {
    waiting: Gauge,
}

impl Metrics {
    /// Describes the metrics and sets their first values.
    pub(super) fn register() -> Self {
        describe_counter!(REQUESTS, Unit::Count, "Requests answered, by path and HTTP status.");
        describe_gauge!(WAITING, Unit::Count, "Requests that wait for a change, streams of events included.");
        for route in [LINK, LINKS, EVENTS, OPENAPI] {
            STATUSES.iter().for_each(|status| counter!(REQUESTS, "route" => route, "status" => *status).absolute(0));
        }
        for (route, status) in OTHER_STATUSES {
            counter!(REQUESTS, "route" => route, "status" => status).absolute(0);
        }
        let waiting = gauge!(WAITING);
        waiting.set(0);
        Self { waiting }
    }

    /// Counts an answer.
    pub(super) fn count_request(&self, route: &str, status: &str) {
        counter!(REQUESTS, "route" => route.to_owned(), "status" => status.to_owned()).increment(1);
    }
}

/// A place among the requests that wait. A guard, because a request's future is dropped when its client disconnects.
pub(super) struct Waiting {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Waiting {
    pub(super) fn start(metrics: &Metrics, permit: OwnedSemaphorePermit) -> Self {
        let gauge = metrics.waiting.clone();
        gauge.increment(1);
        Self { gauge, _permit: permit }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gauge.decrement(1);
    }
}

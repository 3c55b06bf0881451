//! Reads two counters out of Prometheus's text format.

/// Counters of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Webhooks answered 200.
    pub(super) webhooks: u64,
    /// Events confirmed by RabbitMQ.
    pub(super) events: u64,
}

impl Counters {
    /// The counters in a text of metrics; what is not there is zero.
    pub(super) fn read(metrics: &str) -> Self {
        let mut counters = Self::default();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let counter = match name {
                "banklink_ingress_requests_total" if labels.contains("status=\"200\"") => &mut counters.webhooks,
                "banklink_events_published_total" => &mut counters.events,
                _ => continue,
            };
            *counter += value.parse::<u64>().unwrap_or_default();
        }
        counters
    }

    /// What was counted since `before`. A counter that is smaller has begun again with its process.
    pub(super) fn since(self, before: &Self) -> Self {
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self { webhooks: since(self.webhooks, before.webhooks), events: since(self.events, before.events) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_counter_are_added_and_a_restart_begins_again() {
        let metrics = "# HELP banklink_events_published_total Events.\n\
            banklink_ingress_requests_total{status=\"200\"} 7\nbanklink_ingress_requests_total{status=\"503\"} 2\n\
            banklink_events_published_total{type=\"a\"} 3\nbanklink_events_published_total{type=\"b\"} 4\nother 1\n";
        let now = Counters::read(metrics);
        assert_eq!(now, Counters { webhooks: 7, events: 7 });
        assert_eq!(now.since(&Counters { webhooks: 5, events: 9 }), Counters { webhooks: 2, events: 7 });
    }
}

//! Counts by minute over the last hour.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// How many minutes are kept.
const KEPT: i64 = 60;

/// Counts by minute. A minute in which nothing was added is unknown.
#[derive(Clone, Debug, Default)]
pub(super) struct Minutes(BTreeMap<i64, u64>);

impl Minutes {
    /// Adds to the minute of `at`.
    pub(super) fn add(&mut self, at: DateTime<Utc>, count: u64) {
        let minute = minute(at);
        *self.0.entry(minute).or_default() += count;
        self.0.retain(|kept, _| (minute - KEPT + 1..=minute).contains(kept));
    }

    /// The counts of the hour that ends with the minute of `at`, the oldest first.
    pub(super) fn until(&self, at: DateTime<Utc>) -> Vec<Option<u64>> {
        let last = minute(at);
        (last - KEPT + 1..=last).map(|minute| self.0.get(&minute).copied()).collect()
    }
}

fn minute(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn an_hour_is_kept_and_gaps_are_unknown() {
        let (mut minutes, start) = (Minutes::default(), DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        minutes.add(start, 1);
        minutes.add(start + TimeDelta::seconds(59), 2);
        minutes.add(start + TimeDelta::minutes(2), 4);
        let counts = minutes.until(start + TimeDelta::minutes(2));
        assert_eq!((counts.len(), &counts[57..]), (60, &[Some(3), None, Some(4)][..]));
        minutes.add(start + TimeDelta::minutes(61), 0);
        assert_eq!(minutes.0.len(), 2);
    }
}

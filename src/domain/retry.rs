//! The retry schedule: the delays between the attempts at a message.

use std::fmt;
use std::time::Duration;

/// The maximum of RabbitMQ's `x-message-ttl`: 32 bits of milliseconds, about 49 days.
const MAX_DELAY: Duration = Duration::from_millis(u32::MAX as u64);
/// The preferred delay of a deferred message: retries are rare enough to cost little, and a row is not late by much.
const DEFERRAL: Duration = Duration::from_secs(30);
/// Each distinct delay is a queue, and more of them are taken for a mistake in the setting.
const MAX_RETRIES: usize = 100;

/// The delay before each retry; its length is the number of retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Delay>);

/// One delay in whole milliseconds. `Display` uses the largest whole unit: `5s`, `1h`. It names the retry tier's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(Duration);

impl Schedule {
    /// Parses 1 to 100 comma separated delays, such as `5s,30s`, each of whole milliseconds from 1 ms to 49 days.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let delays: Option<Vec<Delay>> = text.split(',').map(|part| Delay::parse(part.trim())).collect();
        delays.filter(|delays| delays.len() <= MAX_RETRIES).map(Self)
    }

    /// The delay after the failure of attempt number `attempt`, the first of which is 1; `None` if it was the last.
    #[must_use]
    pub fn after(&self, attempt: u32) -> Option<Delay> {
        let retries_so_far = usize::try_from(attempt.max(1) - 1).ok()?;
        self.0.get(retries_so_far).copied()
    }

    /// The delay of a deferred message, which costs no attempt: the greatest one up to 30 s, or else the smallest.
    #[must_use]
    pub fn deferral(&self) -> Delay {
        let tiers = self.tiers();
        // A schedule is never empty, so there is always a first tier.
        tiers.iter().rfind(|delay| delay.0 <= DEFERRAL).or(tiers.first()).copied().unwrap_or(Delay(DEFERRAL))
    }

    /// The distinct delays in ascending order. Each is a retry tier.
    #[must_use]
    pub fn tiers(&self) -> Vec<Delay> {
        let mut tiers = self.0.clone();
        tiers.sort_unstable();
        tiers.dedup();
        tiers
    }
}

impl Delay {
    fn parse(text: &str) -> Option<Self> {
        let delay = humantime::parse_duration(text).ok()?;
        let whole = delay.subsec_nanos().is_multiple_of(1_000_000);
        (whole && !delay.is_zero() && delay <= MAX_DELAY).then_some(Self(delay))
    }

    /// The delay in milliseconds: a retry tier's `x-message-ttl`.
    #[must_use]
    pub fn millis(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let millis = self.millis();
        let (length, unit) = UNITS.into_iter().find(|(length, _)| millis.is_multiple_of(*length)).unwrap_or((1, "ms"));
        write!(formatter, "{}{unit}", millis / length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<Vec<String>> {
        Schedule::parse(text).map(|schedule| schedule.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_delay_is_named_in_its_largest_whole_unit() {
        let names = shown("5s, 60s,90s,60m,36h,1500ms,24h");
        assert_eq!(names.unwrap(), ["5s", "1m", "90s", "1h", "36h", "1500ms", "1d"]);
    }

    #[test]
    fn equal_delays_share_a_tier() {
        let tiers = Schedule::parse("1m,5s,60s").unwrap().tiers();
        assert_eq!(tiers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["5s", "1m"]);
    }

    #[test]
    fn the_schedule_has_as_many_retries_as_delays() {
        let schedule = Schedule::parse("5s,1m").unwrap();
        let after = |attempt| schedule.after(attempt).map(|delay| delay.to_string()).unwrap_or_default();
        assert_eq!([0, 1, 2, 3, u32::MAX].map(after), ["5s", "5s", "1m", "", ""]);
    }

    #[test]
    fn a_deferred_message_waits_at_most_30_seconds_if_there_is_such_a_tier() {
        let deferral = |text| Schedule::parse(text).unwrap().deferral().to_string();
        assert_eq!(["5s,30s,2m", "5s,10s,1h", "1d,2h"].map(deferral), ["30s", "10s", "2h"]);
    }

    #[test]
    fn an_invalid_schedule_is_refused() {
        for text in ["", "5", "0s", "5s,,1m", "-1s", "100d", "1us", "soon"] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }
}

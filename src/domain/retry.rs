//! The retry schedule: how long a message waits before each further attempt.

use std::fmt;
use std::time::Duration;

/// The longest delay that RabbitMQ's `x-message-ttl` can hold: 32 bits of milliseconds.
const LONGEST: Duration = Duration::from_millis(u32::MAX as u64);
/// Long enough that what is put aside costs little, and short enough that nobody misses it.
const DEFERRAL: Duration = Duration::from_secs(30);
/// More tiers than this is a mistake in the setting, and each one is a queue.
const MAX_RETRIES: usize = 100;

/// The delay before each retry; its length is the number of retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Delay>);

/// One delay, in whole milliseconds. It is shown in its largest whole unit, which names its queue: `5s`, `1m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(Duration);

impl Schedule {
    /// Reads `5s,30s,2m`. `None` unless each is a duration of 1 ms to 49 days in whole milliseconds, and at most 100.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let delays: Option<Vec<Delay>> = text.split(',').map(|part| Delay::parse(part.trim())).collect();
        delays.filter(|delays| delays.len() <= MAX_RETRIES).map(Self)
    }

    /// The delay after attempt number `attempt` (1 is the first) has failed; `None` when that was the last one.
    #[must_use]
    pub fn after(&self, attempt: u32) -> Option<Delay> {
        let retries_so_far = usize::try_from(attempt.max(1) - 1).ok()?;
        self.0.get(retries_so_far).copied()
    }

    /// How long something waits that is not to spend an attempt: the longest delay of up to half a minute, else the shortest.
    #[must_use]
    pub fn deferral(&self) -> Delay {
        let tiers = self.tiers();
        // There is a first one: no schedule is empty.
        tiers.iter().rfind(|delay| delay.0 <= DEFERRAL).or(tiers.first()).copied().unwrap_or(Delay(DEFERRAL))
    }

    /// Each delay that occurs, once, the shortest first: the retry tiers.
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
        (whole && !delay.is_zero() && delay <= LONGEST).then_some(Self(delay))
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
        let after = |attempt| schedule.after(attempt).map(|delay| delay.to_string());
        assert_eq!(
            [after(0), after(1), after(2), after(3), after(u32::MAX)].map(Option::unwrap_or_default),
            ["5s", "5s", "1m", "", ""]
        );
    }

    #[test]
    fn what_is_put_aside_waits_half_a_minute_or_less_if_it_can() {
        let aside = |text| Schedule::parse(text).unwrap().deferral().to_string();
        assert_eq!(["5s,30s,2m", "5s,10s,1h", "1d,2h"].map(aside), ["30s", "10s", "2h"]);
    }

    #[test]
    fn what_is_no_delay_is_refused() {
        for text in ["", "5", "0s", "5s,,1m", "-1s", "100d", "1us", "soon"] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }
}

//! One point in time as whole nanoseconds since 1970: what webhooks are ordered by.
//!
//! Lean stamps its webhooks with up to nine fraction digits and PostgreSQL keeps six, so the order of webhooks lives in
//! an integer of its own and only what is shown is cut to microseconds.

use chrono::{DateTime, SecondsFormat, Utc};

/// Nanoseconds since 1970-01-01T00:00:00Z; never negative, and never past 2262-04-11, where 64 bits end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The clock's reading.
    #[must_use]
    pub fn now() -> Self {
        Self::from_time(&Utc::now()).unwrap_or(Self::EPOCH)
    }

    /// The instant that many nanoseconds after 1970, or `None` before it.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Option<Self> {
        (nanos >= 0).then_some(Self(nanos))
    }

    /// The instant that many seconds after 1970, or `None` past 2262.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        let nanos = i64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?;
        Some(Self(nanos))
    }

    /// Reads an RFC 3339 time; fraction digits past the ninth are cut. `None` for anything else or outside 1970–2262.
    #[must_use]
    pub fn parse(rfc3339: &str) -> Option<Self> {
        Self::from_time(&DateTime::parse_from_rfc3339(rfc3339).ok()?.to_utc())
    }

    /// The instant of a clock's reading, or `None` outside 1970–2262.
    #[must_use]
    pub fn from_time(time: &DateTime<Utc>) -> Option<Self> {
        Self::from_nanos(time.timestamp_nanos_opt()?)
    }

    /// Nanoseconds since 1970: a bank link's `version`.
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970: what an AMQP timestamp holds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.unsigned_abs() / 1_000_000_000
    }

    /// What a timestamp column holds: the instant cut, not rounded, to microseconds.
    #[must_use]
    pub fn to_micros(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0 - self.0 % 1_000)
    }

    /// RFC 3339 in UTC with six fraction digits: how events write it.
    #[must_use]
    pub fn rfc3339_micros(self) -> String {
        self.to_micros().to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// RFC 3339 in UTC with nine fraction digits: how message headers write it.
    #[must_use]
    pub fn rfc3339_nanos(self) -> String {
        DateTime::from_timestamp_nanos(self.0).to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    /// Whether this instant lies more than `nanos` nanoseconds after `other`.
    #[must_use]
    pub fn is_later_than(self, other: Self, nanos: i64) -> bool {
        self.0.saturating_sub(other.0) > nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_times_one_nanosecond_apart_are_told_apart() {
        let earlier = Timestamp::parse("2026-05-12T14:34:40.391243281Z");
        let later = Timestamp::parse("2026-05-12T14:34:40.391243282Z");
        assert!(earlier < later);
    }

    #[test]
    fn six_seven_and_nine_fraction_digits_and_offsets_are_read() {
        for text in
            ["2020-10-10T17:19:00.059933Z", "2020-10-10T17:19:00.0599330Z", "2020-10-10T21:19:00.059933000+04:00"]
        {
            assert_eq!(Timestamp::parse(text).map(Timestamp::nanos), Some(1_602_350_340_059_933_000), "{text}");
        }
    }

    #[test]
    fn shown_times_are_cut_and_never_rounded() {
        let shown = Timestamp::parse("2020-10-10T17:19:00.999999999Z").map(Timestamp::rfc3339_micros);
        assert_eq!(shown.as_deref(), Some("2020-10-10T17:19:00.999999Z"));
    }

    #[test]
    fn times_outside_1970_to_2262_are_no_instants() {
        for text in ["1969-12-31T23:59:59.999999999Z", "2262-04-12T00:00:00Z", "yesterday", ""] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert_eq!(Timestamp::from_seconds(u64::MAX), None);
    }
}

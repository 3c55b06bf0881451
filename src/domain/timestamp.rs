//! A point in time in whole nanoseconds, by which webhooks are ordered.
//!
//! Lean's timestamps have up to nine fraction digits, PostgreSQL's columns six. Webhooks' order must not depend on the
//! database, so timestamps are compared and stored as integers; only timestamp columns and events hold microseconds.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

/// Times without an offset, as Lean's OpenAPI document prints them in places. They may mean any time zone.
const LOCAL_TIMES: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];

/// Nanoseconds since 1970-01-01T00:00:00Z. Never negative; the maximum of an `i64` is reached in April 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The current time.
    #[must_use]
    pub fn now() -> Self {
        Self::from_time(&Utc::now()).unwrap_or(Self::EPOCH)
    }

    /// From nanoseconds since 1970; `None` if they are negative.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Option<Self> {
        (nanos >= 0).then_some(Self(nanos))
    }

    /// From seconds since 1970; `None` after 2262.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        i64::try_from(seconds).ok()?.checked_mul(1_000_000_000).map(Self)
    }

    /// Parses an RFC 3339 time between 1970 and 2262, whose offset may lack its colon (`+0300`). Fraction digits after the ninth
    /// are cut off.
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let without_colon = || DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z");
        let time = DateTime::parse_from_rfc3339(text).or_else(|_| without_colon());
        match time.ok().and_then(|time| Self::from_time(&time.to_utc())) {
            Some(timestamp) => Ok(timestamp),
            None if LOCAL_TIMES.iter().any(|format| NaiveDateTime::parse_from_str(text, format).is_ok()) => {
                Err("has no offset from UTC")
            }
            None => Err("expected an RFC 3339 time between 1970 and 2262"),
        }
    }

    fn from_time(time: &DateTime<Utc>) -> Option<Self> {
        Self::from_nanos(time.timestamp_nanos_opt()?)
    }

    /// Nanoseconds since 1970, as in the column `version`.
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, as in an AMQP timestamp.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.unsigned_abs() / 1_000_000_000
    }

    /// The time cut, not rounded, to microseconds, as in timestamp columns.
    #[must_use]
    pub fn to_micros(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0 - self.0 % 1_000)
    }

    /// RFC 3339 in UTC with six fraction digits, as in events.
    #[must_use]
    pub fn rfc3339_micros(self) -> String {
        self.to_micros().to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// RFC 3339 in UTC with nine fraction digits, as in message headers.
    #[must_use]
    pub fn rfc3339_nanos(self) -> String {
        DateTime::from_timestamp_nanos(self.0).to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    /// Whether this time is more than `nanos` nanoseconds after `other`.
    #[must_use]
    pub fn is_later_than(self, other: Self, nanos: i64) -> bool {
        self.0.saturating_sub(other.0) > nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_one_nanosecond_apart_differ() {
        let [earlier, later] = ["2026-05-12T14:34:40.391243281Z", "2026-05-12T14:34:40.391243282Z"]
            .map(|text| Timestamp::parse(text).unwrap());
        assert!(earlier < later);
    }

    #[test]
    fn six_seven_and_nine_fraction_digits_and_offsets_are_parsed() {
        for text in [
            "2020-10-10T17:19:00.059933Z",
            "2020-10-10T17:19:00.0599330Z",
            "2020-10-10T21:19:00.059933000+04:00",
            "2020-10-10T21:19:00.059933+0400",
            "2020-10-10T17:19:00.059933999999-0000",
        ] {
            let nanos = Timestamp::parse(text).map(|timestamp| timestamp.nanos() / 1_000);
            assert_eq!(nanos, Ok(1_602_350_340_059_933), "{text}");
        }
    }

    #[test]
    fn times_are_cut_and_never_rounded() {
        let micros = Timestamp::parse("2020-10-10T17:19:00.999999999Z").map(Timestamp::rfc3339_micros);
        assert_eq!(micros.as_deref(), Ok("2020-10-10T17:19:00.999999Z"));
    }

    #[test]
    fn times_outside_1970_to_2262_are_refused() {
        for text in ["1969-12-31T23:59:59.999999999Z", "2262-04-12T00:00:00Z", "yesterday", ""] {
            assert_eq!(Timestamp::parse(text), Err("expected an RFC 3339 time between 1970 and 2262"), "{text}");
        }
        assert_eq!(Timestamp::from_seconds(u64::MAX), None);
    }

    #[test]
    fn a_time_without_an_offset_is_refused_for_that_reason() {
        for text in ["2025-02-25 11:40:31.981", "2025-02-25T11:40:31", "2025-02-25T11:40:31.981123456"] {
            assert_eq!(Timestamp::parse(text), Err("has no offset from UTC"), "{text}");
        }
    }
}

//! Times, as people write and read them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// Reads an RFC 3339 time, or an age before now.
///
/// # Errors
/// What was expected, if `text` is neither.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let age = humantime::parse_duration(text).map_err(|_| "expected an RFC 3339 time, or an age such as 2h or 3d")?;
    before_now(age).ok_or("the age is too large")
}

/// The time `age` ago, if the calendar reaches that far.
#[must_use]
pub fn before_now(age: Duration) -> Option<DateTime<Utc>> {
    Utc::now().checked_sub_signed(TimeDelta::from_std(age).ok()?)
}

/// RFC 3339 with microseconds.
#[must_use]
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The age of `time` in its largest unit: `5s`, `12m`, `3h`, `20d`.
#[must_use]
pub fn age(time: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - time).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

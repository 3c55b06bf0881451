//! Test-only: makes the program fail at points and in ways that no input can. Without the feature `failpoints`, which
//! is never part of a release, these functions do nothing.

use std::time::Duration;

/// Panics or aborts if `body` contains `"banklink_fault":"panic"` or `"banklink_fault":"abort"`.
#[cfg(feature = "failpoints")]
pub fn failpoint_for_body(body: &[u8]) {
    let requests = |fault: &str| body.windows(fault.len()).any(|window| window == fault.as_bytes());
    if requests(r#""banklink_fault":"abort""#) {
        std::process::abort();
    }
    // The message contains the body, so that tests can check that it is not logged.
    assert!(!requests(r#""banklink_fault":"panic""#), "requested by {}", String::from_utf8_lossy(body));
}

/// Aborts the process if the environment variable BANKLINK_FAULT is `point`.
#[cfg(feature = "failpoints")]
pub fn failpoint(point: &str) {
    if std::env::var("BANKLINK_FAULT").is_ok_and(|fault| fault == point) {
        std::process::abort();
    }
}

/// `deadline` divided by the environment variable BANKLINK_DEADLINE_DIVISOR, so that a test need not wait for all of it.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn deadline(deadline: Duration) -> Duration {
    let divisor = std::env::var("BANKLINK_DEADLINE_DIVISOR").ok().and_then(|divisor| divisor.parse().ok());
    deadline / divisor.unwrap_or(1).max(1)
}

/// Does nothing.
#[cfg(not(feature = "failpoints"))]
pub fn failpoint_for_body(_body: &[u8]) {}

/// Does nothing.
#[cfg(not(feature = "failpoints"))]
pub fn failpoint(_point: &str) {}

/// Returns `deadline`.
#[cfg(not(feature = "failpoints"))]
#[must_use]
pub fn deadline(deadline: Duration) -> Duration {
    deadline
}

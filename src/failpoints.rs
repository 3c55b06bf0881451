//! Test-only: makes the program fail at points and in ways that no input can. Without the feature `failpoints`, which
//! is never part of a release, these functions do nothing.

use std::time::Duration;

const ENABLED: bool = cfg!(feature = "failpoints");

/// Panics or aborts if `body` contains `"banklink_fault":"panic"` or `"banklink_fault":"abort"`.
pub fn failpoint_for_body(body: &[u8]) {
    let requests = |fault: &str| ENABLED && body.windows(fault.len()).any(|window| window == fault.as_bytes());
    if requests(r#""banklink_fault":"abort""#) {
        std::process::abort();
    }
    // The message contains the body, so that tests can check that it is not logged.
    assert!(!requests(r#""banklink_fault":"panic""#), "requested by {}", String::from_utf8_lossy(body));
}

/// Aborts the process if the environment variable BANKLINK_FAULT is `point`.
pub fn failpoint(point: &str) {
    if ENABLED && std::env::var("BANKLINK_FAULT").is_ok_and(|fault| fault == point) {
        std::process::abort();
    }
}

/// `deadline` divided by the environment variable BANKLINK_DEADLINE_DIVISOR, so that a test need not wait for all of it.
#[must_use]
pub fn shortened_for_tests(deadline: Duration) -> Duration {
    let divisor = std::env::var("BANKLINK_DEADLINE_DIVISOR").ok().filter(|_| ENABLED);
    deadline / divisor.and_then(|divisor| divisor.parse().ok()).unwrap_or(1).max(1)
}

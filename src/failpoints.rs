//! Test-only: makes the program fail in ways that no input should, at points that no test could hit by luck. Compiled with
//! the feature `faults` and never into a release.

/// Fails the way that a webhook's body asks for, if it does: `{"banklink_fault":"panic"}` or `"abort"`.
#[cfg(feature = "failpoints")]
pub fn failpoint_for_body(body: &[u8]) {
    let asks = |fault: &str| body.windows(fault.len()).any(|window| window == fault.as_bytes());
    if asks(r#""banklink_fault":"abort""#) {
        std::process::abort();
    }
    // As indiscreet as a panic can be.
    assert!(!asks(r#""banklink_fault":"panic""#), "asked to by {}", String::from_utf8_lossy(body));
}

/// Ends the process at `point`, if BANKLINK_FAULT names it.
#[cfg(feature = "failpoints")]
pub fn failpoint(point: &str) {
    if std::env::var("BANKLINK_FAULT").is_ok_and(|fault| fault == point) {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
pub fn failpoint_for_body(_body: &[u8]) {}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
pub fn failpoint(_point: &str) {}

//! Test-only: a webhook that makes the worker fail in ways that no input should. Not compiled into a release.

/// Fails as the body asks for, if it does.
#[expect(clippy::panic, reason = "panicking is what this is for")]
pub(super) fn strike(body: &[u8]) {
    let asks = |fault: &str| body.windows(fault.len()).any(|window| window == fault.as_bytes());
    if asks(r#""banklink_fault":"abort""#) {
        std::process::abort();
    }
    if asks(r#""banklink_fault":"panic""#) {
        panic!("asked to panic");
    }
}

//! What a panic while parsing or writing comes to: a failure of the delivery, not the end of the process.

use crate::domain::failure::{Failure, FailureClass};
use crate::panics;

/// The failure of a delivery whose handling has just panicked on this thread. It names the location only: a panic's text may
/// quote the body.
pub(super) fn panic_failure() -> Failure {
    let reason =
        panics::last_location().map_or_else(|| "a panic".to_owned(), |location| format!("a panic at {location}"));
    Failure::new(FailureClass::Panicked, reason)
}

//! Logs where a panic occurred, but not its message: that may quote a webhook, for example after slicing a `str` at the
//! wrong index.

use std::cell::RefCell;

use tracing::error;

thread_local! {
    static LAST_LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the panic hook of the process by one that logs only the location.
pub fn log_locations() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        error!(location, "panicked, which is a bug");
        LAST_LOCATION.set(Some(location));
    }));
}

/// Takes the location of the last panic on this thread, such as `src/lib.rs:120`. `None` unless [`log_locations`] was
/// called before it.
#[must_use]
pub fn last_location() -> Option<String> {
    LAST_LOCATION.take()
}

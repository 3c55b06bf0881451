//! Panics: where, and never what. What is said in one may quote what the code had in hand, a webhook's body for instance:
//! slicing a `str` in the wrong place does.

use std::cell::RefCell;

use tracing::error;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic anywhere in the process is logged with its place, and with nothing else.
pub fn log_locations() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        error!(place, "a panic, which is a bug");
        LAST.set(Some(place));
    }));
}

/// Where this thread panicked last: `src/…rs:120`. `None` if nobody has asked to be told.
#[must_use]
pub fn last_location() -> Option<String> {
    LAST.take()
}

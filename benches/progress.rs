//! What is going on, on stderr: a bar on a terminal, and a line for each figure as it comes in.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Says something that is no result.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A bar of that length; it takes itself away when it is dropped.
pub(crate) fn bar(what: &str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:48} {wide_bar} {human_pos}/{human_len} {per_sec:>12}");
    let bar = ProgressBar::new(length as u64).with_message(what.to_owned());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_finish(indicatif::ProgressFinish::AndClear)
}

/// A spinner, for what nobody can tell the length of.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner.with_finish(indicatif::ProgressFinish::AndClear)
}

/// Tells of posts that were answered 503 and came again, if there were any: they count as one post that took long.
pub(crate) fn say_refused(posts: u32) {
    if posts > 0 {
        say(&format!("{posts} posts were answered 503 and sent again"));
    }
}

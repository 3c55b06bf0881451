//! Progress on stderr: bars and spinners on a terminal, and a line for each figure.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// Prints a line to stderr.
pub(crate) fn print(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Shows a progress bar until it is dropped.
pub(crate) fn bar(what: &str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:48} {wide_bar} {human_pos}/{human_len} {per_sec:>12}");
    let bar = ProgressBar::new(length as u64).with_message(what.to_owned());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_finish(ProgressFinish::AndClear)
}

/// Shows a spinner until it is dropped.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner.with_finish(ProgressFinish::AndClear)
}

/// Prints how many posts were answered 503 and sent again, if any. Each counts as one post with a long latency.
pub(crate) fn print_refused(posts: u32) {
    if posts > 0 {
        print(&format!("{posts} posts were answered 503 and sent again"));
    }
}

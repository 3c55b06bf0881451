//! The difference of two bodies, as a page shows it.

use maud::{Markup, html};
use similar::ChangeTag;

use super::fault::Fault;
use super::parts::number;
use crate::dead_letters::line_difference;
use crate::escape::escaped;

/// Lines around a difference.
const CONTEXT: usize = 3;
/// Maximum number of lines that are shown.
const MAX_LINES: usize = 2_000;

/// The difference between `old` and `new`. Others are answered meanwhile.
pub(super) async fn difference(old: String, new: String) -> Result<Markup, Fault> {
    tokio::task::spawn_blocking(move || lines(&old, &new)).await.map_err(|_| Fault::Busy)
}

fn lines(old: &str, new: &str) -> Markup {
    let difference = line_difference(old, new);
    let groups = difference.grouped_ops(CONTEXT);
    let (mut changes, mut more) = (Vec::new(), 0);
    for (number, group) in groups.iter().enumerate() {
        for (index, change) in group.iter().flat_map(|op| difference.iter_changes(op)).enumerate() {
            if changes.len() < MAX_LINES {
                // A gap is shown before the first line of each group but the first.
                changes.push((number > 0 && index == 0, change));
            } else {
                more += 1;
            }
        }
    }
    html! {
        pre.body.diff tabindex="0" aria-labelledby="difference-heading" {
            @for (is_after_gap, change) in changes {
                @if is_after_gap { span.quiet { "⋯" } }
                @let line = escaped(change.value().trim_end_matches('\n'));
                @match change.tag() {
                    ChangeTag::Insert => ins { (line) },
                    ChangeTag::Delete => del { (line) },
                    ChangeTag::Equal => span { (line) },
                }
            }
        }
        @if more > 0 { p.notice.busy { "And " (number(more)) " more lines, which are not shown." } }
    }
}

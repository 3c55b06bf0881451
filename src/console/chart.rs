//! Small charts as inline SVG: one bar for each minute.

use maud::{Markup, html};

use super::parts::number;

const HEIGHT: f64 = 56.0;
const BAR: f64 = 10.0;

/// A chart of `counts`, the oldest first; `None` is a minute about which nothing is known. `name` says what is counted.
pub(super) fn bars(name: &str, counts: &[Option<u64>]) -> Markup {
    let known: Vec<u64> = counts.iter().flatten().copied().collect();
    let (sum, max) = (known.iter().sum::<u64>(), known.iter().max().copied().unwrap_or_default());
    // The last minute is not over.
    let last = counts.iter().rev().nth(1).copied().flatten();
    let summary = format!(
        "{name}, by minute: {} in {} minutes, at most {} in one, {} in the last",
        number(sum.cast_signed()),
        known.len(),
        number(max.cast_signed()),
        last.map_or("an unknown number".to_owned(), |last| number(last.cast_signed())),
    );
    let width = BAR * lossless(counts.len() as u64);
    html! {
        svg.bars role="img" aria-label=(summary) viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" {
            @for (index, count) in counts.iter().enumerate() {
                @let x = BAR * lossless(index as u64) + 1.0;
                @match count {
                    Some(count) => {
                        @let share = if max == 0 { 0.0 } else { lossless(*count) / lossless(max) };
                        // A minute with any has a bar that can be seen.
                        @let height = if *count == 0 { 1.0 } else { (share * HEIGHT).max(3.0) };
                        rect.zero[*count == 0] x=(x) y=(HEIGHT - height) width=(BAR - 2.0) height=(height) rx="1" {
                            title { (number(count.cast_signed())) }
                        }
                    }
                    None => { rect.unknown x=(x) y=(HEIGHT - 1.0) width=(BAR - 2.0) height="1" {} }
                }
            }
        }
    }
}

/// Counts of a minute are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "the height of a bar has no more than three digits")]
fn lossless(number: u64) -> f64 {
    number as f64
}

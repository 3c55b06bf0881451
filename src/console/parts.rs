//! Parts that several pages are made of: times, numbers, states, tables' cells, empty states.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::dead_letters::Masking;
use crate::domain::dead_letter::State;
use crate::escape::escaped;
use crate::times::age;

/// A text that others wrote. What browsers would not show, or show elsewhere, is escaped, and its direction does not matter to
/// what is around it.
pub(super) fn text(text: &str) -> Markup {
    html! { bdi { (escaped(text)) } }
}

/// A text that others wrote, or a dash.
pub(super) fn optional(value: Option<&str>) -> Markup {
    html! { @match value { Some(value) => (text(value)), None => span.quiet { "–" } } }
}

/// A text of several lines that others wrote.
pub(super) fn lines(text: &str) -> Markup {
    html! { @for line in text.lines() { (escaped(line)) "\n" } }
}

/// How long ago `at` was, and the exact time in small letters: a hint would need a mouse.
pub(super) fn ago(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(rfc3339(at)) { (age(at)) " ago " span.exact { (full(at)) } } }
}

/// As [`ago`], or a dash.
pub(super) fn optional_ago(at: Option<DateTime<Utc>>) -> Markup {
    html! { @match at { Some(at) => (ago(at)), None => span.quiet { "–" } } }
}

/// The exact time, and how long ago that was.
pub(super) fn at(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(rfc3339(at)) { (full(at)) } " " span.quiet { (age(at)) " ago" } }
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn full(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A number with a thin space between thousands.
pub(super) fn number(number: impl TryInto<i64>) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::from(if number < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 letter`, `2 letters`.
pub(super) fn letters(count: impl TryInto<i64>) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    format!("{} letter{}", number(count), if count == 1 { "" } else { "s" })
}

/// The state of a letter, as a badge with its word.
pub(super) fn state(state: Option<State>) -> Markup {
    let (class, word) = match state {
        Some(State::Dead) => ("bad", "dead"),
        Some(State::Replaying) => ("busy", "replaying"),
        Some(State::Resolved) => ("good", "resolved"),
        Some(State::Discarded) => ("quiet", "discarded"),
        None => ("quiet", "unknown"),
    };
    badge(class, word)
}

/// A word in a coloured frame. The classes are `good`, `bad`, `busy` and `quiet`.
pub(super) fn badge(class: &str, word: &str) -> Markup {
    html! { span class={ "badge " (class) } { (word) } }
}

/// Whether customer data is shown.
pub(super) fn masking_badge(masking: Masking) -> Markup {
    match masking {
        Masking::Masked => badge("quiet", "masked"),
        Masking::Revealed => badge("busy", "revealed to you, on record"),
    }
}

/// What stands in place of a list that is empty: why, and what to do.
pub(super) fn empty(title: &str, next: &Markup) -> Markup {
    html! { div.empty { p.title { (title) } p { (next) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_hostile_text_is_only_text() {
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            (number(999), number(-1_000), letters(1)),
            ("999".into(), "−1\u{202f}000".into(), "1 letter".into())
        );
        let shown = text("<img src=x onerror=alert(1)>\u{202e}\0\"").into_string();
        assert_eq!(shown, r"<bdi>&lt;img src=x onerror=alert(1)&gt;\u202e\u0000&quot;</bdi>");
    }
}

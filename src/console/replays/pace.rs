//! How fast a replay goes and when it stops by itself: the fields of the form.

use maud::{Markup, html};

use crate::console::fault::Fault;
use crate::console::fields::Fields;
use crate::escape::escaped;

/// What the form suggests for many letters.
const RATE: &str = "200";
const CANARY: i64 = 10;
const STOP_ON_FAILURE: &str = "10";
const MAX_RATE: u32 = 1_000_000;

/// The pace of a replay. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Maximum letters per second.
    pub(super) rate: Option<u32>,
    /// How many letters go first.
    pub(super) canary: Option<u32>,
    /// Stop when more than this percentage of the letters that ended is dead again.
    pub(super) stop_on_failure: Option<f64>,
}

impl Pace {
    /// The pace that a form asks for.
    pub(super) fn read(fields: &Fields) -> Result<Self, Fault> {
        let number = |name: &'static str, max: u32| match fields.get(name).map(str::parse::<u32>) {
            None => Ok(None),
            Some(Ok(number)) if (1..=max).contains(&number) => Ok(Some(number)),
            Some(_) => Err(Fault::Invalid(format!("The field “{name}” is wrong: expected 1 to {max}, or nothing."))),
        };
        let stop_on_failure = match fields.get("stop").map(str::parse::<f64>) {
            None => None,
            Some(Ok(percent)) if (0.0..=100.0).contains(&percent) => Some(percent),
            Some(_) => {
                return Err(Fault::Invalid("The field “stop” is wrong: expected 0 to 100, or nothing.".to_owned()));
            }
        };
        Ok(Self {
            rate: number("rate", MAX_RATE)?,
            canary: number("canary", i32::MAX.unsigned_abs())?,
            stop_on_failure,
        })
    }
}

/// What the fields of the form hold.
pub(super) struct Written {
    rate: String,
    canary: String,
    stop: String,
    reason: String,
}

impl Written {
    /// Suggestions for so many letters: few need no canaries.
    pub(super) fn suggested(letters: i64) -> Self {
        let (canary, stop) = if letters > CANARY { (CANARY.to_string(), STOP_ON_FAILURE) } else { Default::default() };
        Self { rate: RATE.to_owned(), canary, stop: stop.to_owned(), reason: String::new() }
    }

    /// What a form was submitted with.
    pub(super) fn submitted(fields: &Fields) -> Self {
        let value = |name| fields.get(name).unwrap_or_default().to_owned();
        Self { rate: value("rate"), canary: value("canary"), stop: value("stop"), reason: value("reason") }
    }

    /// The fields.
    pub(super) fn fields(&self) -> Markup {
        html! {
            div.fields {
                div.field {
                    label for="rate" { "Letters per second" }
                    input #rate name="rate" type="number" min="1" max=(MAX_RATE) value=(escaped(&self.rate)) placeholder="no limit" aria-describedby="rate-hint";
                    p #rate-hint.quiet { "At most so many; none means no limit." }
                }
                div.field {
                    label for="canary" { "Canaries" }
                    input #canary name="canary" type="number" min="1" value=(escaped(&self.canary)) placeholder="none" aria-describedby="canary-hint";
                    p #canary-hint.quiet { "The oldest so many go first; the others follow only if all of them are resolved." }
                }
                div.field {
                    label for="stop" { "Stop at failures, %" }
                    input #stop name="stop" type="number" min="0" max="100" step="any" value=(escaped(&self.stop)) placeholder="never" aria-describedby="stop-hint";
                    p #stop-hint.quiet { "It stops when more of those that ended are dead again." }
                }
            }
            div.field {
                label for="reason" { "Reason, kept with the replay" }
                input #reason name="reason" required maxlength="500" value=(escaped(&self.reason)) placeholder="What was fixed, or the ticket";
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    fn read(form: &'static str) -> Option<Pace> {
        Pace::read(&Fields::of_form(&Bytes::from_static(form.as_bytes()))).ok()
    }

    #[test]
    fn a_pace_has_limits_that_make_sense_or_none() {
        let none = Pace { rate: None, canary: None, stop_on_failure: None };
        assert_eq!(read("rate=&canary=%20"), Some(none));
        let all = Pace { rate: Some(200), canary: Some(10), stop_on_failure: Some(2.5) };
        assert_eq!(read("rate=200&canary=10&stop=2.5"), Some(all));
        for wrong in ["rate=0", "rate=1000001", "rate=fast", "canary=0", "canary=-1", "stop=101", "stop=NaN", "stop=-1"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

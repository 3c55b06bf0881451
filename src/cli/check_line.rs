//! One line of `banklink check`.

use super::{CommandError, output};

/// The state of what was checked, or why it failed.
pub(super) type CheckResult = Result<String, String>;

/// The failure of a check that needs a server that could not be reached.
pub(super) const SKIPPED: &str = "not checked: the server could not be reached";

/// One line of the output.
pub(super) struct Check {
    name: &'static str,
    result: CheckResult,
    remedy: Option<&'static str>,
}

impl Check {
    pub(super) fn new(name: &'static str, result: CheckResult) -> Self {
        Self { name, result, remedy: None }
    }

    /// Adds what to do about a failure or a warning.
    pub(super) fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }

    pub(super) fn has_passed(&self) -> bool {
        self.result.is_ok()
    }

    /// Prints the line. Fails as [`output::line()`] does.
    pub(super) fn print(self, json: bool) -> Result<(), CommandError> {
        let Self { name, result, remedy } = self;
        let (state, detail) = match result {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("failed", detail),
        };
        if json {
            let line = serde_json::json!({ "check": name, "state": state, "detail": detail, "remedy": remedy });
            return output::json(&line);
        }
        let remedy = remedy.map(|remedy| format!("; remedy: {remedy}")).unwrap_or_default();
        output::line(&format!("{name:<10} {state:<8} {detail}{remedy}"))
    }
}

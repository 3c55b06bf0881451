//! One line of `banklink check`. What failed or warns has a remedy: there is no way to write one without.

use super::{CommandError, output};

/// One line of the output (docs/CONTRACT.md#2-the-program).
pub(super) struct Check {
    name: &'static str,
    detail: String,
    has_failed: bool,
    warnings: Vec<String>,
    remedies: Vec<String>,
}

impl Check {
    pub(super) fn passed(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into(), has_failed: false, warnings: Vec::new(), remedies: Vec::new() }
    }

    pub(super) fn failed(name: &'static str, cause: impl Into<String>, remedy: &str) -> Self {
        Self { has_failed: true, ..Self::not_checked(name, cause, remedy) }
    }

    /// What was not looked at, which is no failure; `remedy` is how to have it checked.
    pub(super) fn not_checked(name: &'static str, reason: impl Into<String>, remedy: &str) -> Self {
        let mut check = Self::passed(name, reason);
        check.add_remedy(remedy);
        check
    }

    /// What needs the server that the line `needs` is about.
    pub(super) fn skipped(name: &'static str, needs: &str) -> Self {
        Self::failed(name, "not checked: the server could not be reached", &format!("see the line `{needs}`"))
    }

    /// Adds something that is wrong, but lets the system do its work.
    pub(super) fn warn(mut self, warning: impl Into<String>, remedy: &str) -> Self {
        self.warnings.push(warning.into());
        self.add_remedy(remedy);
        self
    }

    /// Adds a reason for which the check has failed.
    pub(super) fn fail(mut self, cause: &str, remedy: &str) -> Self {
        self.has_failed = true;
        self.detail = format!("{}; {cause}", self.detail);
        self.add_remedy(remedy);
        self
    }

    fn add_remedy(&mut self, remedy: &str) {
        if !self.remedies.iter().any(|known| known == remedy) {
            self.remedies.push(remedy.to_owned());
        }
    }

    pub(super) fn has_passed(&self) -> bool {
        !self.has_failed
    }

    pub(super) fn warns(&self) -> bool {
        !self.warnings.is_empty()
    }

    /// Prints the line. Fails as [`output::line()`] does.
    pub(super) fn print(self, json: bool) -> Result<(), CommandError> {
        let line = self.line();
        if json {
            return output::json(&line);
        }
        let text = |member: &str| line[member].as_str().unwrap_or_default();
        let remedy = line["remedy"].as_str().map(|remedy| format!("; remedy: {remedy}")).unwrap_or_default();
        output::line(&format!("{:<10} {:<8} {}{remedy}", text("check"), text("state"), text("detail")))
    }

    /// The line for machines. The detail says everything but the remedy.
    pub(super) fn line(self) -> serde_json::Value {
        let joined = |texts: &[String]| (!texts.is_empty()).then(|| texts.join("; "));
        let (warning, remedy) = (joined(&self.warnings), joined(&self.remedies));
        let detail = self.warnings.iter().fold(self.detail, |detail, warning| format!("{detail}; warning: {warning}"));
        let state = if self.has_failed { "failed" } else { "ok" };
        serde_json::json!({
            "check": self.name, "state": state, "detail": detail, "warning": warning, "remedy": remedy,
        })
    }
}

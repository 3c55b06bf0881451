//! The verdict: what the judge counted, and each finding that breaks a promise.

/// Findings that are kept in full; more are only counted.
const MAX_FINDINGS: usize = 20;

#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) findings: Vec<String>,
    /// How many findings were not kept.
    pub(crate) more_findings: usize,
    /// Webhooks or events that should be somewhere and are nowhere.
    pub(crate) lost: usize,
    /// Events that should not exist.
    pub(crate) doubled: usize,
    pub(crate) links: usize,
    pub(crate) letters: usize,
    pub(crate) events: usize,
    /// Allowed: events that arrived again with the same id and content.
    pub(crate) repeated_events: usize,
    /// Allowed: retry copies of deferred messages, which have used no attempt.
    pub(crate) deferred: usize,
    /// Allowed: reconnects that died because the webhook that creates their link was accepted too late.
    pub(crate) dead_reconnects: usize,
}

impl Verdict {
    /// Adds a finding; the verdict is bad from then on.
    pub(crate) fn add(&mut self, finding: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

//! The canaries of a replay: its first letters, for which the others wait.

/// What became of the canaries so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canaries {
    /// Those that were resolved.
    pub resolved: i32,
    /// Those that are dead again, or were skipped: a letter that another replay has claimed proves nothing.
    pub failed: i32,
    /// The others: not replayed yet, or under way.
    pub open: i32,
}

/// What the canaries say about the letters that wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// Every canary was resolved, or its failure is ignored: the others follow.
    Passed,
    /// None has failed so far, but some have not ended.
    Waiting,
    /// A canary has failed.
    Failed,
}

impl Canaries {
    /// All of them.
    #[must_use]
    pub fn total(self) -> i32 {
        self.resolved + self.failed + self.open
    }

    /// The verdict, where an operator has decided to go on although `ignored` of them failed.
    #[must_use]
    pub fn verdict(self, ignored: i32) -> CanaryVerdict {
        if self.failed > ignored {
            CanaryVerdict::Failed
        } else if self.open > 0 {
            CanaryVerdict::Waiting
        } else {
            CanaryVerdict::Passed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_that_has_not_ended_is_no_failure_and_an_ignored_failure_excuses_no_other() {
        for (resolved, failed, open, ignored, expected) in [
            (10, 0, 0, 0, CanaryVerdict::Passed),
            (9, 0, 1, 0, CanaryVerdict::Waiting),
            (0, 0, 10, 0, CanaryVerdict::Waiting),
            (3, 1, 6, 0, CanaryVerdict::Failed),
            (3, 1, 6, 1, CanaryVerdict::Waiting),
            (8, 2, 0, 2, CanaryVerdict::Passed),
            (7, 3, 0, 2, CanaryVerdict::Failed),
        ] {
            let canaries = Canaries { resolved, failed, open };
            assert_eq!((canaries.verdict(ignored), canaries.total()), (expected, 10), "{canaries:?}, {ignored}");
        }
    }
}

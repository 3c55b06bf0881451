//! Logs each type of webhook that Lean does not publish, once: a new type may be one that this program should handle.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

/// Maximum number of types that are remembered. Later ones are counted as `other` like all, but not logged.
const MAX_REMEMBERED: usize = 64;

/// The unknown types that were logged so far.
#[derive(Default)]
pub(super) struct UnknownTypes(Mutex<BTreeSet<String>>);

impl UnknownTypes {
    /// Logs `name` if it is new; types about entities as warnings. The name may hold anything, so it is logged escaped.
    pub(super) fn log_once(&self, name: &str) {
        if !self.remember(name) {
            return;
        }
        if name.starts_with("entity.") {
            warn!(webhook.r#type = ?name, "ignored webhooks of an unknown type about entities: is this version too old?");
        } else {
            info!(webhook.r#type = ?name, "ignored webhooks of an unknown type");
        }
    }

    fn remember(&self, name: &str) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.len() < MAX_REMEMBERED && names.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_new_once_and_their_number_is_bounded() {
        let types = UnknownTypes::default();
        assert!(types.remember("a") && !types.remember("a"));
        assert_eq!((0..1_000).filter(|number| types.remember(&number.to_string())).count(), MAX_REMEMBERED - 1);
    }
}

//! Who makes a request, and what they may do.

use std::sync::Arc;

use super::rights::{Right, Role};
use super::sessions::SessionKey;
use super::settings::Changes;

/// A request by a known user.
#[derive(Clone)]
pub(super) struct Visit {
    /// The name for history and log.
    pub(super) user: String,
    /// What the user may do.
    pub(super) role: Role,
    /// Whether anyone may change letters.
    pub(super) changes: Changes,
    /// The session, if the user logged in here, and so can log out here.
    pub(super) session: Option<SessionKey>,
    /// What every path begins with.
    pub(super) prefix: Arc<str>,
}

impl Visit {
    /// Whether the user has that right now.
    pub(super) fn may(&self, right: Right) -> bool {
        self.role.has(right) && (right != Right::Change || self.changes == Changes::Allowed)
    }

    /// The address of a path of the console.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

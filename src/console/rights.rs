//! Who may do what: roles, and the rights that each request needs one of (docs/CONTRACT.md#12-the-console).

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks; customer data is masked.
    Viewer,
    /// A viewer who replays, edits and discards dead letters.
    Operator,
    /// A viewer who reveals customer data and exports.
    Auditor,
    /// All of these.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Auditor, Self::Admin];

    /// The role's name in settings and on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role with that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether the role has that right.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::Public | Right::Look => true,
            Right::Change => matches!(self, Self::Operator | Self::Admin),
            Right::Reveal | Right::Export => matches!(self, Self::Auditor | Self::Admin),
        }
    }
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing, not even a login: the login itself, styles and script.
    Public,
    /// To look at pages without customer data.
    Look,
    /// To replay, edit or discard.
    Change,
    /// To see customer data.
    Reveal,
    /// To download letters or the audit.
    Export,
}

impl Right {
    /// What it permits, to complete "may not …".
    pub(super) fn deed(self) -> &'static str {
        match self {
            Self::Public | Self::Look => "look at this",
            Self::Change => "replay, edit or discard dead letters",
            Self::Reveal => "see customer data",
            Self::Export => "export",
        }
    }
}

/// An address of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// `get` or `post`.
    pub method: &'static str,
    /// The path, below the path prefix.
    pub path: &'static str,
    /// What it needs.
    pub right: Right,
}

impl Route {
    /// Whether pages ask for it by themselves, and not a person.
    pub(super) fn is_passive(&self) -> bool {
        self.path.starts_with("/live/")
    }

    /// Whether its form holds a text that took a person long to write.
    pub(super) fn holds_text(&self) -> bool {
        self.path.starts_with("/letters/{id}/edit/")
    }
}

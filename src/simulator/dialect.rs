//! The two dialects of Lean: the United Arab Emirates and Saudi Arabia.

use super::banks::{Bank, BankType};
use crate::domain::permissions::DOCUMENTED;

/// How many permissions, from the first that Lean documents, exist in the United Arab Emirates.
const UAE_PERMISSIONS: usize = 4;

/// Which country's Lean is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Webhooks carry `timestamp` and `event_id`, and the Events API lists them.
    Uae,
    /// Webhooks carry neither, and there is no Events API.
    Ksa,
}

impl Dialect {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uae => "uae",
            Self::Ksa => "ksa",
        }
    }

    /// The permissions that a customer can grant here.
    pub(super) fn permissions(self) -> &'static [&'static str] {
        match self {
            Self::Uae => &DOCUMENTED[..UAE_PERMISSIONS],
            Self::Ksa => &DOCUMENTED,
        }
    }

    /// The permissions that a customer can grant at `bank`: identity only at retail banks.
    pub(super) fn permissions_at(self, bank: &Bank) -> impl Iterator<Item = &'static str> {
        let has_identity = bank.bank_type == BankType::Retail;
        self.permissions().iter().copied().filter(move |permission| has_identity || *permission != "identity")
    }
}

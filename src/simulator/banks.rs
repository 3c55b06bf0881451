//! The mock banks that a customer can choose from.

use serde::Serialize;

/// Whom a bank serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum BankType {
    /// Persons.
    Retail,
    /// Small and medium enterprises.
    Sme,
}

/// A bank, as in `bank_details` of a webhook. Serialised without the members that only webhooks carry.
#[derive(Debug, Serialize)]
pub(super) struct Bank {
    pub(super) identifier: &'static str,
    pub(super) name: &'static str,
    pub(super) main_color: &'static str,
    pub(super) background_color: &'static str,
    pub(super) bank_type: BankType,
    #[serde(skip)]
    pub(super) swift_code: &'static str,
}

/// Every mock bank. The second is the one of Lean's published example.
pub(super) const BANKS: [Bank; 5] = [
    Bank {
        identifier: "LEANMB1",
        name: "Falcon Mock Bank",
        main_color: "#ffd166",
        background_color: "#1d3557",
        bank_type: BankType::Retail,
        swift_code: "FALCAEAD",
    },
    Bank {
        identifier: "LEANMB2",
        name: "Lean Mock Bank",
        main_color: "#1beb75",
        background_color: "#001E26",
        bank_type: BankType::Retail,
        swift_code: "LEANAEAD",
    },
    Bank {
        identifier: "LEANMB3",
        name: "Pearl Mock Bank",
        main_color: "#f4f1ea",
        background_color: "#6b2d5c",
        bank_type: BankType::Retail,
        swift_code: "PERLAEAD",
    },
    Bank {
        identifier: "LEANMB4",
        name: "Oasis Mock Bank",
        main_color: "#e9f5db",
        background_color: "#2d6a4f",
        bank_type: BankType::Retail,
        swift_code: "OASIAEAD",
    },
    Bank {
        identifier: "LEANMB5",
        name: "Dune Mock Business Bank",
        main_color: "#ffe8d6",
        background_color: "#9c4a1a",
        bank_type: BankType::Sme,
        swift_code: "DUNEAEAD",
    },
];

impl Bank {
    /// The bank with that identifier.
    pub(super) fn find(identifier: &str) -> Option<&'static Self> {
        BANKS.iter().find(|bank| bank.identifier == identifier)
    }

    /// The kind of account that a customer has there.
    pub(super) fn account_type(&self) -> &'static str {
        match self.bank_type {
            BankType::Retail => "PERSONAL",
            BankType::Sme => "BUSINESS",
        }
    }
}

//! The permissions that Lean documents. Others may come: a bank link keeps any name.

/// Their names, in the order of Lean's documentation.
pub const DOCUMENTED: [&str; 9] = [
    "identity",
    "accounts",
    "balance",
    "transactions",
    "identities",
    "standing_orders",
    "scheduled_payments",
    "direct_debits",
    "beneficiaries",
];

//! The fields of a bank link that [`merge`](super::bank_link::merge) merges by timestamp, and the set of permissions.

/// A field of a bank link. Each one is a column of `bank_links` (docs/CONTRACT.md#6-in-the-database).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns' names")]
pub enum Field {
    CustomerId,
    AppUserId,
    BankIdentifier,
    BankName,
    BankLogo,
    BankMainColor,
    BankBackgroundColor,
    BankSwiftCode,
    BankAccountType,
    BankType,
    Permissions,
    LastEventId,
}

impl Field {
    /// Every field. A field's index here is its discriminant, and its index in
    /// [`BankLink::fields`](super::bank_link::BankLink::fields).
    pub const ALL: [Self; 12] = [
        Self::CustomerId,
        Self::AppUserId,
        Self::BankIdentifier,
        Self::BankName,
        Self::BankLogo,
        Self::BankMainColor,
        Self::BankBackgroundColor,
        Self::BankSwiftCode,
        Self::BankAccountType,
        Self::BankType,
        Self::Permissions,
        Self::LastEventId,
    ];

    /// The name of the field's column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomerId => "customer_id",
            Self::AppUserId => "app_user_id",
            Self::BankIdentifier => "bank_identifier",
            Self::BankName => "bank_name",
            Self::BankLogo => "bank_logo",
            Self::BankMainColor => "bank_main_color",
            Self::BankBackgroundColor => "bank_background_color",
            Self::BankSwiftCode => "bank_swift_code",
            Self::BankAccountType => "bank_account_type",
            Self::BankType => "bank_type",
            Self::Permissions => "permissions",
            Self::LastEventId => "last_event_id",
        }
    }
}

/// The names of the permissions that a customer granted, sorted and without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(Vec<String>);

impl Permissions {
    /// Creates the set from names in any order.
    #[must_use]
    pub fn new(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// The names as a JSON array. Two values with the same timestamp are compared by this text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::Value::from(self.0.as_slice()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_at_the_index_of_its_discriminant() {
        assert!(Field::ALL.into_iter().enumerate().all(|(index, field)| field as usize == index));
    }
}

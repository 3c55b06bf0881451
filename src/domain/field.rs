//! The fields of a bank link, and the one whose value is more than a text.

/// A field of a bank link that the newest writer wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns' names, and the contract explains them")]
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
    /// Every field, in the order of [`BankLink::fields`].
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

    /// The column that holds it.
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

/// The names of what a customer granted: sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(Vec<String>);

impl Permissions {
    /// The permissions of those names.
    #[must_use]
    pub fn new(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// The JSON array, which is also what two values from one instant are compared by.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::Value::from(self.0.as_slice()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_stands_at_its_own_place() {
        assert!(Field::ALL.into_iter().enumerate().all(|(place, field)| field as usize == place));
    }
}

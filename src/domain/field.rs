//! The fields of a bank link that [`merge`](super::bank_link::merge) merges by timestamp.

/// Declares [`Field`]: one line for each field, with the column of `bank_links` that holds it. The store derives its
/// statements from this table (`src/store/bank_link_columns.rs` says what else a new column needs).
macro_rules! fields {
    ($($field:ident => $column:literal,)+) => {
        /// A field of a bank link. Each one is a column of `bank_links` (docs/CONTRACT.md#6-in-the-database).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are those of the columns, which docs/CONTRACT.md#6-in-the-database explains")]
        pub enum Field {
            $($field,)+
        }

        impl Field {
            /// How many fields there are.
            pub const COUNT: usize = [$($column),+].len();
            /// Every field, in the order of [`BankLink::fields`](super::bank_link::BankLink::fields).
            pub const ALL: [Self; Self::COUNT] = [$(Self::$field,)+];

            /// The name of the field's column.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $column,)+
                }
            }
        }
    };
}

fields! {
    CustomerId => "customer_id",
    AppUserId => "app_user_id",
    BankIdentifier => "bank_identifier",
    BankName => "bank_name",
    BankLogo => "bank_logo",
    BankMainColor => "bank_main_color",
    BankBackgroundColor => "bank_background_color",
    BankSwiftCode => "bank_swift_code",
    BankAccountType => "bank_account_type",
    BankType => "bank_type",
    EndUserId => "end_user_id",
    Permissions => "permissions",
    LastEventId => "last_event_id",
}

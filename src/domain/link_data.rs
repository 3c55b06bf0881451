//! What is said about a bank link to other programs: the `data` of an event, and the read API's link (docs/CONTRACT.md#which-events-follow-a-change).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bank_link::BankLink;
use super::field::Field;
use super::timestamp::Timestamp;

/// The link of a customer to a bank, as of its `revision`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BankLink")]
pub struct LinkData<'a> {
    /// The id of the entity at Lean: a UUID of any version.
    entity_id: Uuid,
    /// The id of the customer at Lean: opaque text, not always a UUID.
    #[schemars(length(max = 128))]
    customer_id: Option<&'a str>,
    /// The customer's id in the company's app.
    app_user_id: Option<&'a str>,
    /// Increases by 1 with each change. Of two events about a link, the one with the greater revision is the later; two events
    /// of different types may have the same.
    #[schemars(range(min = 1))]
    revision: i64,
    /// The time of the newest webhook, in nanoseconds since 1970. Larger than 2^53, so JavaScript's numbers round it.
    #[schemars(range(min = 0))]
    version: i64,
    /// What is known of the bank.
    bank: Bank<'a>,
    /// The names of what was granted, sorted; null while no webhook has said. New names may appear.
    #[schemars(with = "Option<Vec<String>>")]
    permissions: Option<&'a RawValue>,
    /// The end user's id.
    end_user_id: Option<&'a str>,
    /// When the link was created; null while that webhook has not arrived.
    #[schemars(extend("format" = "date-time"))]
    linked_at: Option<String>,
    /// When it was last reconnected.
    #[schemars(extend("format" = "date-time"))]
    reconnected_at: Option<String>,
}

/// A bank, as Lean describes it.
#[derive(Serialize, JsonSchema)]
struct Bank<'a> {
    /// The bank's id at Lean.
    identifier: Option<&'a str>,
    /// Its name.
    name: Option<&'a str>,
    /// The URL of its logo.
    logo: Option<&'a str>,
    /// A CSS color.
    main_color: Option<&'a str>,
    /// A CSS color.
    background_color: Option<&'a str>,
    /// Its SWIFT code.
    swift_code: Option<&'a str>,
    /// `PERSONAL` or `BUSINESS`. New values may appear.
    account_type: Option<&'a str>,
    /// `RETAIL` or `SME`. New values may appear.
    #[serde(rename = "type")]
    bank_type: Option<&'a str>,
}

impl<'a> From<&'a BankLink> for LinkData<'a> {
    fn from(link: &'a BankLink) -> Self {
        Self {
            entity_id: link.entity_id,
            customer_id: link.get(Field::CustomerId),
            app_user_id: link.get(Field::AppUserId),
            revision: link.revision,
            version: link.version.nanos(),
            bank: Bank {
                identifier: link.get(Field::BankIdentifier),
                name: link.get(Field::BankName),
                logo: link.get(Field::BankLogo),
                main_color: link.get(Field::BankMainColor),
                background_color: link.get(Field::BankBackgroundColor),
                swift_code: link.get(Field::BankSwiftCode),
                account_type: link.get(Field::BankAccountType),
                bank_type: link.get(Field::BankType),
            },
            permissions: link.get(Field::Permissions).and_then(|names| serde_json::from_str(names).ok()),
            end_user_id: link.get(Field::EndUserId),
            linked_at: link.linked_at.map(Timestamp::rfc3339_micros),
            reconnected_at: link.reconnected_at.map(Timestamp::rfc3339_micros),
        }
    }
}

impl LinkData<'_> {
    /// Leaves out what can change without an event: the instants of values that stay the same, and `linked_at`, which an older
    /// `entity.created` moves back.
    pub fn forget_silent_changes(&mut self) {
        (self.revision, self.version, self.linked_at) = (0, 0, None);
    }
}

//! What is said about a bank link to other programs: the `data` of an event, and the read API's link (docs/CONTRACT.md#which-events-follow-a-change).

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bank_link::BankLink;
use super::field::Field;
use super::timestamp::Timestamp;

/// A bank link, ready to be serialised.
#[derive(Serialize)]
pub struct LinkData<'a> {
    entity_id: Uuid,
    customer_id: Option<&'a str>,
    app_user_id: Option<&'a str>,
    revision: i64,
    version: i64,
    bank: Bank<'a>,
    permissions: Option<&'a RawValue>,
    end_user_id: Option<&'a str>,
    linked_at: Option<String>,
    reconnected_at: Option<String>,
}

#[derive(Serialize)]
struct Bank<'a> {
    identifier: Option<&'a str>,
    name: Option<&'a str>,
    logo: Option<&'a str>,
    main_color: Option<&'a str>,
    background_color: Option<&'a str>,
    swift_code: Option<&'a str>,
    account_type: Option<&'a str>,
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

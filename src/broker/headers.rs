//! Reads and writes AMQP tables: message headers, which anyone with access to the broker may have set, and arguments.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// The headers of a message, or a table nested in them. A header of another type than expected counts as absent.
pub(super) struct Headers<'a>(Option<&'a FieldTable>);

impl<'a> Headers<'a> {
    /// The headers of the message with these properties.
    pub(super) fn of(properties: &'a BasicProperties) -> Self {
        Self(properties.headers().as_ref())
    }

    /// The header's value, of any type.
    pub(super) fn get(&self, name: &str) -> Option<&'a AMQPValue> {
        self.0?.inner().get(name)
    }

    /// A header that is UTF-8 text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
            AMQPValue::ShortString(text) => Some(text.to_string()),
            _ => None,
        }
    }

    /// A header that is an integer of any AMQP type, or text of one, and fits.
    pub(super) fn number<N: TryFrom<i64>>(&self, name: &str) -> Option<N> {
        let number: i64 = match self.get(name)? {
            AMQPValue::ShortShortInt(number) => (*number).into(),
            AMQPValue::ShortShortUInt(number) => (*number).into(),
            AMQPValue::ShortInt(number) => (*number).into(),
            AMQPValue::ShortUInt(number) => (*number).into(),
            AMQPValue::LongInt(number) => (*number).into(),
            AMQPValue::LongUInt(number) => (*number).into(),
            AMQPValue::LongLongInt(number) => *number,
            _ => self.text(name)?.parse().ok()?,
        };
        N::try_from(number).ok()
    }

    /// The first table of a header that is an array of tables; without one, an empty table.
    pub(super) fn first_table(&self, name: &str) -> Headers<'a> {
        let first = self.get(name).and_then(AMQPValue::as_array).and_then(|tables| tables.as_slice().first());
        Headers(first.and_then(AMQPValue::as_field_table))
    }
}

/// A text in a table.
pub(super) fn text(value: impl AsRef<str>) -> AMQPValue {
    AMQPValue::LongString(value.as_ref().into())
}

/// A table with these entries.
pub(super) fn table<'a>(entries: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> FieldTable {
    entries.into_iter().map(|(name, value)| (name.into(), value)).collect::<BTreeMap<_, _>>().into()
}

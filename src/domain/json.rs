//! Reads single members and texts of a JSON document without building a tree of it.
//!
//! `serde_json::Value` refuses documents for members that are not read: numbers beyond `f64`, deep nesting, names with
//! a lone surrogate. Here a member's value stays the text that was sent ([`RawValue`]), scanned without recursion.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What is wrong with a value. It never contains the value.
pub type Fault = &'static str;

/// The members of a JSON object by name. Of several members with the same name, the last one counts.
pub struct Object<'a>(BTreeMap<Name<'a>, &'a RawValue>);

/// A member's name as bytes: a name with a lone surrogate is not UTF-8, but does not make the object unreadable.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, [u8]>);

/// A string. It borrows from the document unless it contains escapes; `Cow` alone would deserialize into a copy.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    /// Reads the members of `raw`.
    ///
    /// # Errors
    /// When `raw` is not an object.
    pub fn parse(raw: &'a RawValue) -> Result<Self, Fault> {
        serde_json::from_str(raw.get()).map(Self).map_err(|_| "expected an object")
    }

    /// The value of the member called `name`; `None` if there is none, or if it is `null` or an empty string.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let value = self.0.get(&Name(Cow::Borrowed(name.as_bytes()))).copied();
        value.filter(|value| !matches!(value.get(), "null" | "\"\""))
    }

    /// The value of the member that the last segment of `path` names, such as `id` of `payload.id`; otherwise as [`Object::get`].
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&'a RawValue> {
        self.get(path.rsplit('.').next().unwrap_or(path))
    }

    /// Every member, sorted by name, except those whose name is not UTF-8.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().filter_map(|(Name(name), value)| Some((std::str::from_utf8(name).ok()?, *value)))
    }
}

/// Decodes a string; `None` if it is empty.
///
/// # Errors
/// When `raw` is not a string, or contains a lone surrogate.
pub fn text(raw: &RawValue) -> Result<Option<Cow<'_, str>>, Fault> {
    if !raw.get().starts_with('"') {
        return Err("expected text");
    }
    let Text(text) = serde_json::from_str(raw.get()).map_err(|_| "contains a lone surrogate")?;
    Ok((!text.is_empty()).then_some(text))
}

/// Checks that a text can be stored on both databases.
///
/// # Errors
/// When it contains U+0000, which PostgreSQL cannot store.
pub fn storable(text: &str) -> Result<(), Fault> {
    if text.contains('\0') { Err("holds U+0000") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn member_a(json: &str) -> Option<&str> {
        Object::parse(raw(json)).unwrap().get("a").map(RawValue::get)
    }

    #[test]
    fn the_last_of_two_members_with_the_same_name_counts() {
        assert_eq!(member_a(r#"{"a":1,"\u0061":2}"#), Some("2"));
        assert_eq!(member_a(r#"{"a":1,"a":null}"#), None);
    }

    #[test]
    fn members_that_are_not_read_may_be_deeply_nested_or_huge() {
        let json = format!(r#"{{"a":"x","deep":{}{},"huge":1e99999}}"#, "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(member_a(&json), Some(r#""x""#));
    }

    #[test]
    fn a_name_with_a_lone_surrogate_is_skipped() {
        let json = r#"{"\ud800":1,"\u0061":"x","\udc00b":{"\ud800":2}}"#;
        assert_eq!(member_a(json), Some(r#""x""#));
        let object = Object::parse(raw(json)).unwrap();
        assert_eq!(object.members().map(|(name, _)| name).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn values_of_another_kind_are_refused() {
        assert_eq!(Object::parse(raw("[]")).err(), Some("expected an object"));
        assert_eq!(text(raw("5")), Err("expected text"));
        assert_eq!(text(raw(r#""\ud800""#)), Err("contains a lone surrogate"));
        assert_eq!(storable("a\0"), Err("holds U+0000"));
        assert_eq!(text(raw(r#""""#)), Ok(None));
    }
}

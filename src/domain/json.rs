//! Looks into JSON without building it: an object's wanted members, each still as the text it was sent as.
//!
//! Building a full tree would refuse what the rules allow: a number too large for a float, or deep nesting, in a member
//! that nobody reads. Scanning costs no recursion and no copies; of two members with one name the last counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What is wrong with a value, in words that never repeat the value.
pub type Fault = &'static str;

/// The members called `names`, in that order; `null` and an empty text count as absent. Other members are skipped.
///
/// # Errors
/// When `raw` is no object.
pub fn members<'a, const N: usize>(raw: &'a RawValue, names: [&str; N]) -> Result<[Option<&'a RawValue>; N], Fault> {
    let mut found = [None; N];
    each_member(raw, |name, value| {
        if let Some(place) = names.iter().position(|wanted| *wanted == name) {
            found[place] = (!matches!(value.get(), "null" | "\"\"")).then_some(value);
        }
    })?;
    Ok(found)
}

/// Calls `visit` with each member of an object in turn.
///
/// # Errors
/// When `raw` is no object.
pub fn each_member<'a>(raw: &'a RawValue, visit: impl FnMut(Cow<'a, str>, &'a RawValue)) -> Result<(), Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.deserialize_map(Members(visit)).map_err(|_| "expected an object")
}

/// A text, or `None` where it is empty: an empty text is not carried.
///
/// # Errors
/// When `raw` is no text, or one that no JSON reader could decode.
pub fn text(raw: &RawValue) -> Result<Option<Cow<'_, str>>, Fault> {
    if !raw.get().starts_with('"') {
        return Err("expected text");
    }
    let Text(text) = serde_json::from_str(raw.get()).map_err(|_| "broken text")?;
    Ok((!text.is_empty()).then_some(text))
}

/// A text that is going to be stored: see [`text`].
///
/// # Errors
/// Those of [`text`], and when it holds U+0000, which PostgreSQL cannot store.
pub fn storable_text(raw: &RawValue) -> Result<Option<Cow<'_, str>>, Fault> {
    match text(raw)? {
        Some(text) if text.contains('\0') => Err("holds U+0000"),
        text => Ok(text),
    }
}

/// Borrows where nothing is escaped; a bare `Cow` would always be copied.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A member's name; `None` if it cannot be decoded (half a surrogate pair), so that nobody asks for it.
struct Name<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_borrowed_bytes<E>(self, name: &'de [u8]) -> Result<Name<'de>, E> {
                Ok(Name(std::str::from_utf8(name).ok().map(Cow::Borrowed)))
            }

            fn visit_bytes<E>(self, name: &[u8]) -> Result<Name<'de>, E> {
                Ok(Name(std::str::from_utf8(name).ok().map(|name| Cow::Owned(name.to_owned()))))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Members<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if let Some(name) = name {
                (self.0)(name, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap_or(RawValue::NULL)
    }

    #[test]
    fn the_last_of_two_members_with_one_name_counts() {
        let found = members(raw(r#"{"a":1,"a":2}"#), ["a"]).map(|[a]| a.map(RawValue::get));
        assert_eq!(found, Ok(Some("2")));
    }

    #[test]
    fn members_that_nobody_reads_may_be_anything() {
        let json = format!(r#"{{"a":"x","deep":{}{},"huge":1e99999}}"#, "[".repeat(5_000), "]".repeat(5_000));
        let found = members(raw(&json), ["a"]).map(|[a]| a.map(RawValue::get));
        assert_eq!(found, Ok(Some(r#""x""#)));
    }

    #[test]
    fn a_name_that_cannot_be_decoded_is_nobodys() {
        let json = r#"{"\ud800":1,"\u0061":"x","\udc00b":{"\ud800":2}}"#;
        let found = members(raw(json), ["a"]).map(|[a]| a.map(RawValue::get));
        assert_eq!(found, Ok(Some(r#""x""#)));
    }

    #[test]
    fn what_is_no_object_or_no_text_is_said_so() {
        assert_eq!(members(raw("[]"), ["a"]).err(), Some("expected an object"));
        assert_eq!(text(raw("5")), Err("expected text"));
        assert_eq!(text(raw(r#""\ud800""#)), Err("broken text"));
        assert_eq!(storable_text(raw(r#""a\u0000""#)), Err("holds U+0000"));
        assert_eq!(text(raw(r#""""#)), Ok(None));
    }
}

//! One page of a list.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::Error;
use super::http::Answer;
use crate::domain::json::Object;

/// A page: its entries, and what it says about itself and the list. What it does not say, or says in another form than a number, is
/// `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Each entry byte for byte as Lean wrote it, in Lean's order. They share the memory of the whole answer.
    pub entries: Vec<Bytes>,
    /// Its number, from 0.
    pub number: Option<u64>,
    /// How many entries the list has.
    pub total_elements: Option<u64>,
    /// How many pages the list has.
    pub total_pages: Option<u64>,
    /// When it was answered, by Lean's clock, in whole seconds.
    pub answered_at: Option<DateTime<Utc>>,
}

impl Page {
    /// Reads an answer.
    pub(super) fn parse(Answer { body, date }: &Answer) -> Result<Self, Error> {
        let raw: &RawValue = serde_json::from_slice(body).map_err(|_| Error::Unreadable("it is not JSON"))?;
        let answer = Object::parse(raw).map_err(|_| Error::Unreadable("it is not an object"))?;
        let data = answer.get("data").map_or("", RawValue::get);
        let entries: Vec<&RawValue> =
            serde_json::from_str(data).map_err(|_| Error::Unreadable("it has no array `data`"))?;
        let entries = entries.into_iter().map(|entry| body.slice_ref(entry.get().as_bytes())).collect();
        let page = answer.get("page").and_then(|page| Object::parse(page).ok());
        let number = |name: &str| page.as_ref()?.get(name)?.get().parse().ok();
        Ok(Self {
            entries,
            number: number("number"),
            total_elements: number("total_elements"),
            total_pages: number("total_pages"),
            answered_at: *date,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(json: &'static str) -> Result<Page, Error> {
        Page::parse(&Answer { body: Bytes::from_static(json.as_bytes()), date: None })
    }

    #[test]
    fn entries_stay_as_they_were_written() {
        let read =
            page(r#"{"page":{"number":1,"size":50,"total_elements":52,"total_pages":2},"data":[{"a" : 1e5}, null ]}"#);
        let entries = vec![Bytes::from_static(br#"{"a" : 1e5}"#), Bytes::from_static(b"null")];
        assert_eq!(
            read,
            Ok(Page { entries, number: Some(1), total_elements: Some(52), total_pages: Some(2), answered_at: None })
        );
    }

    #[test]
    fn a_list_that_says_nothing_about_itself_is_read_all_the_same() {
        for json in
            [r#"{"data":[]}"#, r#"{"data":[],"page":7}"#, r#"{"data":[],"page":{"number":"0","total_pages":-1}}"#]
        {
            let nothing =
                Page { entries: Vec::new(), number: None, total_elements: None, total_pages: None, answered_at: None };
            assert_eq!(page(json), Ok(nothing), "{json}");
        }
    }

    #[test]
    fn an_answer_without_a_list_is_refused() {
        for json in ["", "<html>", "[]", "{}", r#"{"data":null}"#, r#"{"data":{}}"#] {
            assert!(matches!(page(json), Err(Error::Unreadable(_))), "{json}");
        }
    }
}

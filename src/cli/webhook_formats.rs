//! Takes apart what `banklink send` is given: webhooks, arrays, pages of Lean's Events API, records of its log, exported letters.

use std::fmt;

use anyhow::{anyhow, bail};
use base64::Engine;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::json::{self, Object};

/// Members of a log record that may hold the webhook, as an object or as text.
const RECORD_MEMBERS: [&str; 6] = ["event", "webhook", "request_body", "request", "body", "payload"];
/// How deep webhooks may be wrapped: a record in a page in an array.
const MAX_DEPTH: usize = 4;

/// How many webhooks came in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) webhooks: usize,
    arrays: usize,
    pages: usize,
    records: usize,
    letters: usize,
    /// What the last page says about how many there are.
    last_page: Option<(u64, u64)>,
}

impl fmt::Display for Forms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: usize, one: &str, many: &str| {
            (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
        };
        let wrapped = [
            counted(self.arrays, "array", "arrays"),
            counted(self.pages, "page of Lean's Events API", "pages of Lean's Events API"),
            counted(self.records, "log record", "log records"),
            counted(self.letters, "exported letter", "exported letters"),
        ];
        let wrapped: Vec<String> = wrapped.into_iter().flatten().collect();
        write!(formatter, "read {}", counted(self.webhooks, "webhook", "webhooks").unwrap_or("no webhook".to_owned()))?;
        if !wrapped.is_empty() {
            write!(formatter, " from {}", wrapped.join(", "))?;
        }
        match self.last_page {
            Some((number, pages)) if self.pages == 1 && pages > 1 => {
                write!(formatter, "; this is page {number} of {pages}: send the others, too")
            }
            _ => Ok(()),
        }
    }
}

/// The bodies of the webhooks in `value`, byte for byte, in their order. Counts their forms in `forms`.
///
/// # Errors
/// If anything in it has no `type` and is none of the known wrappers.
pub(super) fn unwrap(value: &RawValue, forms: &mut Forms) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    unwrap_into(&mut bodies, value, forms, MAX_DEPTH)?;
    Ok(bodies)
}

fn unwrap_into(bodies: &mut Vec<Vec<u8>>, value: &RawValue, forms: &mut Forms, depth: usize) -> anyhow::Result<()> {
    if depth == 0 {
        return Err(not_a_webhook());
    }
    if value.get().starts_with('[') {
        forms.arrays += 1;
        return unwrap_all(bodies, value, forms, depth);
    }
    let object = Object::parse(value).map_err(|_| not_a_webhook())?;
    if let Some(body) = exported_body(&object)? {
        forms.letters += 1;
        if !is_webhook(&body) {
            bail!("an exported letter whose body has no `type`: leave it out");
        }
        forms.webhooks += 1;
        bodies.push(body);
        return Ok(());
    }
    if let Some(data) = object.get("data").filter(|data| !has_type(&object) && data.get().starts_with('[')) {
        forms.pages += 1;
        forms.last_page = page(&object);
        return unwrap_all(bodies, data, forms, depth);
    }
    // Lean's types have a dot; a record may have a type of its own, without one.
    let has_dotted_type = text(&object, "type").is_some_and(|name| name.contains('.'));
    if let Some(body) = recorded_body(&object).filter(|_| !has_dotted_type) {
        forms.records += 1;
        forms.webhooks += 1;
        bodies.push(body);
        return Ok(());
    }
    if !has_type(&object) {
        return Err(not_a_webhook());
    }
    forms.webhooks += 1;
    bodies.push(value.get().as_bytes().to_vec());
    Ok(())
}

fn unwrap_all(bodies: &mut Vec<Vec<u8>>, array: &RawValue, forms: &mut Forms, depth: usize) -> anyhow::Result<()> {
    let values: Vec<&RawValue> = serde_json::from_str(array.get())?;
    values.into_iter().try_for_each(|value| unwrap_into(bodies, value, forms, depth - 1))
}

fn not_a_webhook() -> anyhow::Error {
    anyhow!(
        "no `type`, so it is not a webhook; expected webhooks, a page of Lean's Events API ({{\"data\": [...]}}), records of its \
         log, or what `dead-letters export` wrote"
    )
}

fn text(object: &Object<'_>, name: &str) -> Option<String> {
    json::text(object.get(name)?).ok().flatten().map(std::borrow::Cow::into_owned)
}

fn has_type(object: &Object<'_>) -> bool {
    text(object, "type").is_some()
}

fn is_webhook(body: &[u8]) -> bool {
    let raw: Option<&RawValue> = serde_json::from_slice(body).ok();
    raw.and_then(|raw| Object::parse(raw).ok()).is_some_and(|object| has_type(&object))
}

/// The body of a letter that `dead-letters export` wrote.
fn exported_body(object: &Object<'_>) -> anyhow::Result<Option<Vec<u8>>> {
    let is_letter = text(object, "message_id").is_some_and(|id| Uuid::parse_str(&id).is_ok()) && !has_type(object);
    let Some(body) = text(object, "body").filter(|_| is_letter) else { return Ok(None) };
    let decoded = base64::prelude::BASE64_STANDARD.decode(body);
    decoded.map(Some).map_err(|_| anyhow!("an exported letter whose body is not base64"))
}

/// The webhook in a record of Lean's log, as an object or as text.
fn recorded_body(object: &Object<'_>) -> Option<Vec<u8>> {
    RECORD_MEMBERS.into_iter().find_map(|name| {
        let member = object.get(name)?;
        let body = match text(object, name) {
            Some(text) => text.into_bytes(),
            None => member.get().as_bytes().to_vec(),
        };
        is_webhook(&body).then_some(body)
    })
}

/// The number of a page, from 1, and how many there are.
fn page(object: &Object<'_>) -> Option<(u64, u64)> {
    let page = Object::parse(object.get("page")?).ok()?;
    let number = |name: &str| page.get(name)?.get().parse::<u64>().ok();
    Some((number("number").or_else(|| number("page"))? + 1, number("total_pages")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(json: &str) -> Result<(Vec<String>, String), String> {
        let mut forms = Forms::default();
        let unwrapped = unwrap(serde_json::from_str(json).unwrap(), &mut forms).map_err(|error| error.to_string())?;
        Ok((unwrapped.into_iter().map(|body| String::from_utf8(body).unwrap()).collect(), forms.to_string()))
    }

    #[test]
    fn each_form_is_taken_apart_byte_for_byte() {
        let webhook = r#"{"type":"entity.created",  "payload":{"x":1e5}}"#;
        let text = serde_json::to_string(webhook).unwrap();
        for (input, read) in [
            (webhook.to_owned(), "read 1 webhook"),
            (format!("[{webhook}]"), "read 1 webhook from 1 array"),
            (
                format!(r#"{{"data":[{webhook}],"page":{{"number":0,"total_pages":3}}}}"#),
                "read 1 webhook from 1 page of Lean's Events API; this is page 1 of 3: send the others, too",
            ),
            (format!(r#"{{"id":"1","status":200,"event":{webhook}}}"#), "read 1 webhook from 1 log record"),
            (format!(r#"{{"type":"WEBHOOK","request_body":{text}}}"#), "read 1 webhook from 1 log record"),
            (
                format!(r#"{{"data":[{{"payload":{text}}}]}}"#),
                "read 1 webhook from 1 page of Lean's Events API, 1 log record",
            ),
        ] {
            assert_eq!(bodies(&input), Ok((vec![webhook.to_owned()], read.to_owned())), "{input}");
        }
    }

    #[test]
    fn what_has_no_type_is_refused() {
        for input in
            ["{}", "5", r#"[{"payload":{}}]"#, r#"{"data":[{"id":1}]}"#, r#"{"data":{"type":7}}"#, "[[[[[1]]]]]"]
        {
            assert!(bodies(input).unwrap_err().contains("no `type`"), "{input}");
        }
        let letter = r#"{"message_id":"01a21dbd-c8b9-730e-a5a0-252e3039e864","body":"Z2FyYmFnZQ=="}"#;
        assert!(bodies(letter).unwrap_err().contains("leave it out"));
    }
}

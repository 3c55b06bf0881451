//! The fields of a query or of a form, in their order.

use axum::body::Bytes;
use axum::http::Uri;
use uuid::Uuid;

use super::fault::Fault;

/// Maximum length of a reason, in bytes. The history keeps this much.
const MAX_REASON_BYTES: usize = 1000;

/// The fields of a query or of a form. A field may occur several times.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The fields of a query.
    pub(super) fn of_query(uri: &Uri) -> Self {
        Self::parse(uri.query().unwrap_or_default().as_bytes())
    }

    /// The fields of a submitted form.
    pub(super) fn of_form(body: &Bytes) -> Self {
        Self::parse(body)
    }

    fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The value of the first field of that name, without spaces around it; `None` if there is none or it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The value of the first field of that name, as it is.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that must be there.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| Fault::Invalid(format!("The field “{name}” is missing.")))
    }

    /// The reason, which the form of every change and reveal asks for.
    pub(super) fn reason(&self) -> Result<&str, Fault> {
        let reason =
            self.get("reason").ok_or_else(|| Fault::Invalid("Give a reason: it is kept in the history.".to_owned()))?;
        match reason.len() {
            ..=MAX_REASON_BYTES => Ok(reason),
            _ => Err(Fault::Invalid(format!("The reason is longer than {MAX_REASON_BYTES} bytes."))),
        }
    }

    /// The ids in all fields of that name.
    pub(super) fn ids(&self, name: &str) -> Result<Vec<Uuid>, Fault> {
        let values = self.0.iter().filter(|(field, _)| field == name);
        let parse = |(_, value): &(String, String)| value.trim().parse().ok();
        values.map(|field| parse(field).ok_or_else(|| Fault::Invalid("An id is not a UUID.".to_owned()))).collect()
    }
}

/// A query, for links: what is `None` or empty is left out.
pub(super) fn query<'a>(fields: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            query.append_pair(name, &value);
        }
    }
    query.finish()
}

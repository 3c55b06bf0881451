//! Renders a letter's body for people, with customer data masked unless it is revealed.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Replaces a masked value.
const MASK: &str = "***";
/// Members that are masked, including everything nested in them.
const MASKED_MEMBERS: [&str; 3] = ["customer_id", "app_user_id", "bank_details"];

/// Whether customer data is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// Customer data is masked.
    Masked,
    /// Customer data is shown. The caller has to record that in the letter's history.
    Revealed,
}

/// Renders JSON indented. Any other body is rendered as its size and digest or, if revealed, as text in which control characters
/// are escaped and invalid UTF-8 is replaced.
#[must_use]
pub fn render(body: &[u8], masking: Masking) -> String {
    match (serde_json::from_slice::<Value>(body), masking) {
        (Ok(mut json), masking) => {
            if masking == Masking::Masked {
                mask(&mut json, false);
            }
            serde_json::to_string_pretty(&json).unwrap_or_default()
        }
        (Err(_), Masking::Masked) => {
            format!("not JSON: {} bytes, sha256 {}", body.len(), hex::encode(Sha256::digest(body)))
        }
        (Err(_), Masking::Revealed) => {
            let escape =
                |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
            String::from_utf8_lossy(body).chars().map(escape).collect()
        }
    }
}

/// Masks the values of [`MASKED_MEMBERS`] in `json`, or every value if `all`. Keeps the structure and the nulls.
fn mask(json: &mut Value, all: bool) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                mask(value, all || MASKED_MEMBERS.contains(&name.as_str()));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, all)),
        Value::Null => {}
        leaf if all => *leaf = MASK.into(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customer_data_is_masked_at_any_depth() {
        let body = br#"{"payload":{"id":"e","customer_id":"C1","app_user_id":7,"bank_details":{"name":"B1","logo":null}},"x":[{"customer_id":"C2"}]}"#;
        let rendered = render(body, Masking::Masked);
        for secret in ["C1", "C2", "B1", "7"] {
            assert!(!rendered.contains(secret), "{rendered}");
        }
        assert!(rendered.contains("\"e\"") && rendered.contains("null"), "{rendered}");
        assert!(render(body, Masking::Revealed).contains("C1"));
    }

    #[test]
    fn a_body_that_is_not_json_is_rendered_without_control_characters() {
        let body = b"\x1b[31m\x00\xff\nred";
        assert!(render(body, Masking::Masked).starts_with("not JSON: 11 bytes, sha256 "));
        assert_eq!(render(body, Masking::Revealed), "\\u{1b}[31m\\u{0}\u{fffd}\nred");
    }
}

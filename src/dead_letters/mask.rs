//! What may be shown of a body: its shape, but not who the customer is, unless somebody asks and is remembered for it.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands in place of a value.
const MASK: &str = "***";
/// Members whose value, with all that is under it, is masked.
const MASKED: [&str; 3] = ["customer_id", "app_user_id", "bank_details"];

/// Whether customers' data is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// Not.
    Masked,
    /// As it is.
    Revealed,
}

/// The body for a person's eyes: JSON indented, what is no JSON as size and digest, or, revealed, as text with what no
/// terminal should see written out. Always valid UTF-8.
#[must_use]
pub fn render(body: &[u8], masking: Masking) -> String {
    match (serde_json::from_slice::<Value>(body), masking) {
        (Ok(mut json), masking) => {
            if masking == Masking::Masked {
                mask(&mut json);
            }
            serde_json::to_string_pretty(&json).unwrap_or_default()
        }
        (Err(_), Masking::Masked) => {
            format!("{} bytes that are no JSON, sha256 {}", body.len(), hex::encode(Sha256::digest(body)))
        }
        (Err(_), Masking::Revealed) => {
            let escape =
                |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
            String::from_utf8_lossy(body).chars().map(escape).collect()
        }
    }
}

fn mask(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                if MASKED.contains(&name.as_str()) { blank(value) } else { mask(value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Keeps the shape, so that one sees what is missing.
fn blank(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => members.values_mut().for_each(blank),
        Value::Array(items) => items.iter_mut().for_each(blank),
        leaf => *leaf = MASK.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_masked_wherever_they_stand() {
        let body = br#"{"payload":{"id":"e","customer_id":"C1","app_user_id":7,"bank_details":{"name":"B1","logo":null}},"x":[{"customer_id":"C2"}]}"#;
        let shown = render(body, Masking::Masked);
        for secret in ["C1", "C2", "B1", "7"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("\"e\"") && shown.contains("null"), "{shown}");
        assert!(render(body, Masking::Revealed).contains("C1"));
    }

    #[test]
    fn what_is_no_json_is_a_size_and_a_digest_and_never_breaks_a_terminal() {
        let body = b"\x1b[31m\x00\xff\nred";
        assert!(render(body, Masking::Masked).starts_with("11 bytes that are no JSON, sha256 "));
        assert_eq!(render(body, Masking::Revealed), "\\u{1b}[31m\\u{0}\u{fffd}\nred");
    }
}

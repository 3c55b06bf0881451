//! Indents JSON without changing a value: numbers of any size, repeated names and escapes stay as they were written.

use serde::de::IgnoredAny;

const INDENT: &str = "  ";

/// `text` with one member or item a line; `None` if it is not JSON.
#[must_use]
pub fn indented(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let (mut out, mut depth, mut rest) = (String::with_capacity(text.len() * 2), 0_usize, text.trim());
    while let Some(first) = rest.chars().next() {
        let token = token_length(rest);
        let (token, after) = rest.split_at(token);
        let after = after.trim_start();
        match first {
            '{' | '[' => {
                out.push(first);
                // An empty object or array stays on its line.
                if !after.starts_with(['}', ']']) {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                if !out.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    break_line(&mut out, depth);
                }
                out.push(first);
            }
            ',' => {
                out.push(first);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push_str(token),
        }
        rest = after;
    }
    Some(out)
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(INDENT, depth));
}

/// The length of the token at the start of valid JSON, in bytes: a string, a sign, or a number or word.
fn token_length(json: &str) -> usize {
    if json.starts_with('"') {
        let mut is_escaped = false;
        let end = json.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        });
        return end.map_or(json.len(), |end| end + 2);
    }
    let is_sign = |c: char| matches!(c, '{' | '}' | '[' | ']' | ',' | ':' | '"') || c.is_ascii_whitespace();
    json.find(is_sign).map_or(json.len(), |at| at.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_were_written() {
        let written =
            r#" {"a":90071992547409931234567890.10,"a":1e400,"b\"\\":[ ],"c":[{},"x, {y}: \\"],"d":{"e":null}} "#;
        let expected = [
            "{",
            "  \"a\": 90071992547409931234567890.10,",
            "  \"a\": 1e400,",
            r#"  "b\"\\": [],"#,
            "  \"c\": [",
            "    {},",
            r#"    "x, {y}: \\""#,
            "  ],",
            "  \"d\": {",
            "    \"e\": null",
            "  }",
            "}",
        ];
        assert_eq!(indented(written).unwrap(), expected.join("\n"));
        assert_eq!((indented("7"), indented("{"), indented("")), (Some("7".to_owned()), None, None));
    }
}

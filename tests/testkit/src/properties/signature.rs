//! A signature is accepted if and only if it is the HMAC of the body under a known secret.

use banklink::domain::signature::{HEADER, Keys};
use banklink::ingress::verify;
use reqwest::header::{HeaderMap, HeaderValue};

const SECRETS: [&str; 2] = ["the-first-secret", "the-second-secret"];

/// `input` is a header value, a line break, and a body.
pub fn holds(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let keys = Keys::parse(&SECRETS.join(",")).expect("secrets");
    let verdict = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).ok()?);
        verify(&keys, &headers, body)
    };

    let right = SECRETS.map(|secret| Keys::parse(secret).and_then(|key| key.sign(body)).expect("a signature"));
    for (index, signature) in right.iter().enumerate() {
        assert_eq!(verdict(signature.as_bytes()), Some(index));
        let more =
            [format!("{signature} "), format!(" {signature}"), format!("{signature}0"), signature.to_uppercase()];
        for nearly in more.iter().map(String::as_bytes).chain([&signature.as_bytes()[..signature.len() - 1]]) {
            assert_eq!(verdict(nearly), None, "{nearly:?}");
        }
        // The header's bytes overwrite the signature's, starting at an index that the input chooses.
        let mut tampered = signature.clone().into_bytes();
        let from = header.first().map_or(0, |first| usize::from(*first) % tampered.len());
        tampered.iter_mut().skip(from).zip(header.iter().skip(1)).for_each(|(byte, other)| *byte = *other);
        assert_eq!(verdict(&tampered), accepted(&right, &tampered), "{tampered:?}");
    }
    assert_eq!(verdict(header), accepted(&right, header), "{header:?}");

    let mut twice = HeaderMap::new();
    for signature in &right {
        twice.append(HEADER, signature.parse().expect("a value"));
    }
    assert_eq!(verify(&keys, &twice, body), None, "two signature headers are rejected");
    if let Some(keys) = std::str::from_utf8(header).ok().and_then(Keys::parse) {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, keys.sign(body).and_then(|value| value.parse().ok()).expect("a signature"));
        assert_eq!(verify(&keys, &headers, body), Some(0));
    }
}

/// The secret whose signature the header holds: the prefix in lower case, the digits in any case.
fn accepted(right: &[String], header: &[u8]) -> Option<usize> {
    right
        .iter()
        .position(|signature| header.starts_with(b"sha512=") && header.eq_ignore_ascii_case(signature.as_bytes()))
}

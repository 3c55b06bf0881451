//! Takes the signature out of a request's headers, and verifies it.

use hyper::HeaderMap;

use crate::domain::signature::{HEADER, Keys};

/// The index of the secret in `keys` that `body` was signed with. `None` if none matches, or if `headers` do not contain exactly
/// one signature.
#[must_use]
pub fn verify(keys: &Keys, headers: &HeaderMap, body: &[u8]) -> Option<usize> {
    let mut signatures = headers.get_all(HEADER).into_iter();
    let (Some(signature), None) = (signatures.next(), signatures.next()) else { return None };
    keys.verify(signature.as_bytes(), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_signature_is_required() {
        let keys = Keys::parse("a-secret-of-a-test").unwrap();
        let valid = keys.sign(b"body").unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(verify(&keys, &headers, b"body"), None);
        headers.insert(HEADER, valid.parse().unwrap());
        assert_eq!(verify(&keys, &headers, b"body"), Some(0));
        headers.append(HEADER, valid.parse().unwrap());
        assert_eq!(verify(&keys, &headers, b"body"), None);
    }
}

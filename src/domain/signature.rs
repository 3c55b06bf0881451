//! Lean's webhook signature: `sha512=<hex>`, an HMAC-SHA512 of the raw body, sent in the header `lean-signature`.
//!
//! Lean does not document how secrets are rotated, so several are accepted together. `hmac` compares in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;

/// The name of the header.
pub const HEADER: &str = "lean-signature";
const PREFIX: &[u8] = b"sha512=";
/// The length of a SHA-512 digest.
const DIGEST_BYTES: usize = 64;

/// Minimum length of a secret: shorter ones can be guessed.
const MIN_SECRET_CHARS: usize = 16;

/// The secrets, prepared as HMAC keys. Not `Debug`: they must not get into logs.
#[derive(Clone)]
pub struct Keys(Vec<Hmac<Sha512>>);

impl Keys {
    /// Parses comma separated secrets. `None` if one of them has fewer than 16 characters, or if there is a line break: a
    /// file with one secret per line would make a single secret that signs nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(['\n', '\r']) {
            return None;
        }
        let key = |secret: &str| {
            let secret = secret.trim();
            let is_long = secret.chars().nth(MIN_SECRET_CHARS - 1).is_some();
            Hmac::new_from_slice(secret.as_bytes()).ok().filter(|_| is_long)
        };
        text.split(',').map(key).collect::<Option<_>>().map(Self)
    }

    /// The number of secrets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The index of the secret that `body` was signed with. `None` if `signature` is malformed, or made with none of them.
    #[must_use]
    pub fn verify(&self, signature: &[u8], body: &[u8]) -> Option<usize> {
        let mut digest = [0; DIGEST_BYTES];
        hex::decode_to_slice(signature.strip_prefix(PREFIX)?, &mut digest).ok()?;
        self.0.iter().position(|key| key.clone().chain_update(body).verify_slice(&digest).is_ok())
    }

    /// The value of the signature header for `body`, signed with the first secret.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> Option<String> {
        let digest = self.0.first()?.clone().chain_update(body).finalize().into_bytes();
        Some(format!("sha512={}", hex::encode(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vector_is_reproduced() {
        // RFC 4231, test case 2. Its key is shorter than a secret may be.
        let keys = Keys(vec![Hmac::new_from_slice(b"Jefe").unwrap()]);
        let signature = keys.sign(b"what do ya want for nothing?").unwrap();
        assert_eq!(
            signature,
            "sha512=164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d\
             4a6b4b636e070a38bce737"
        );
    }

    #[test]
    fn any_of_several_secrets_and_upper_case_hex_are_accepted() {
        let keys = Keys::parse("the-old-secret-16, the-new-secret-16").unwrap();
        let signature = Keys::parse("the-new-secret-16").unwrap().sign(b"body").unwrap();
        assert_eq!(keys.verify(signature.as_bytes(), b"body"), Some(1));
        let upper = signature.to_uppercase().replace("SHA512", "sha512");
        assert_eq!(keys.verify(upper.as_bytes(), b"body"), Some(1));
    }

    #[test]
    fn a_malformed_or_wrong_signature_is_refused() {
        let keys = Keys::parse("a-secret-of-a-test").unwrap();
        let valid = keys.sign(b"body").unwrap();
        for invalid in [
            "",
            "sha512=",
            "sha512=zz",
            &valid[..valid.len() - 2],
            valid.trim_start_matches("sha512="),
            &valid.replace("sha512", "sha256"),
        ] {
            assert_eq!(keys.verify(invalid.as_bytes(), b"body"), None, "{invalid}");
        }
        assert_eq!(keys.verify(valid.as_bytes(), b"body "), None);
    }

    #[test]
    fn an_empty_secret_is_refused() {
        assert!(Keys::parse("").is_none() && Keys::parse("a,,b").is_none() && Keys::parse("a,").is_none());
    }
}

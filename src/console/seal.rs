//! Proofs that a form carries: that what is confirmed is what was shown, to the same person, by this process.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// Seals the contents of forms. A form of another process, or of this one before it was restarted, has to be opened again.
pub(super) struct Seal([u8; 32]);

impl Seal {
    /// A seal with a new key, of 244 random bits.
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(key)
    }

    /// The proof that `parts` were shown.
    pub(super) fn of(&self, parts: &[&[u8]]) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        for part in parts {
            // The lengths keep the parts apart.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether `proof` is that of `parts`.
    pub(super) fn holds(&self, proof: &str, parts: &[&[u8]]) -> bool {
        let expected = self.of(parts);
        // Compared by digest, so that the time of the comparison says nothing about the proof.
        !expected.is_empty() && self.of(&[proof.as_bytes()]) == self.of(&[expected.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_these_parts_and_of_this_process() {
        let seal = Seal::new();
        let proof = seal.of(&[b"anna", b"body"]);
        assert!(seal.holds(&proof, &[b"anna", b"body"]));
        assert!(!seal.holds(&proof, &[b"annab", b"ody"]) && !seal.holds("", &[b"anna", b"body"]));
        assert!(!Seal::new().holds(&proof, &[b"anna", b"body"]));
    }
}

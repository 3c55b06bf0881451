//! The tokens that requests authenticate with (RFC 6750).

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

/// Minimum length of a token, in characters.
pub const MIN_LENGTH: usize = 32;

/// The accepted tokens. Only their digests are kept, and only digests are compared, so that the time of a comparison says nothing
/// about a token.
pub struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    /// Accepts any of `tokens`.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        Self(tokens.into_iter().map(digest).collect())
    }

    /// Whether the header `authorization` carries one of the tokens.
    pub(super) fn allow(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Refused::NoToken) };
        let presented = value.to_str().ok().and_then(|value| value.split_once(' '));
        let Some((_, token)) = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return Err(Refused::NoToken);
        };
        let presented = digest(token.trim());
        if self.0.contains(&presented) { Ok(()) } else { Err(Refused::WrongToken) }
    }
}

/// Why a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It carries no bearer token.
    NoToken,
    /// Its token is none of those that are accepted.
    WrongToken,
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const TOKEN: &str = "a-token-of-at-least-32-characters";

    fn allow(values: &[&'static str]) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        Tokens::new(["another-token-of-32-characters-or-more", TOKEN]).allow(&headers)
    }

    #[test]
    fn any_of_the_tokens_is_accepted_whatever_the_case_of_the_scheme() {
        assert_eq!(allow(&["Bearer a-token-of-at-least-32-characters"]), Ok(()));
        assert_eq!(allow(&["bearer  a-token-of-at-least-32-characters "]), Ok(()));
    }

    #[test]
    fn nothing_else_is_accepted() {
        assert_eq!(allow(&[]), Err(Refused::NoToken));
        assert_eq!(allow(&["a-token-of-at-least-32-characters"]), Err(Refused::NoToken));
        assert_eq!(allow(&["Basic a-token-of-at-least-32-characters"]), Err(Refused::NoToken));
        assert_eq!(allow(&["Bearer "]), Err(Refused::WrongToken));
        assert_eq!(allow(&["Bearer a-token-of-at-least-32-character"]), Err(Refused::WrongToken));
        let twice = "Bearer a-token-of-at-least-32-characters";
        assert_eq!(allow(&[twice, twice]), Err(Refused::NoToken));
    }
}

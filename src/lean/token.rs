//! Access tokens: OAuth 2 client credentials (RFC 6749, section 4.4) with the scope `api`.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::{Error, Secret};

/// A token is replaced this long before it runs out, or once half of its time has passed if that is later: a request takes time.
const MARGIN: Duration = Duration::from_secs(60);
/// The time for which a token is used if the server does not say how long it is valid.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(300);

/// The longest time for which a token is used.
const MAX_VALIDITY: Duration = Duration::from_secs(86_400);

/// An access token, and until when it is used.
#[derive(Clone)]
pub(super) struct Token {
    secret: Secret,
    until: Instant,
}

/// The answer of the authorization server.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// A number of seconds, as some servers write it also as text or with a fraction.
    expires_in: Option<Value>,
}

/// The body of a request for a token.
pub(super) fn form(client_id: &str, client_secret: &Secret) -> String {
    Serializer::new(String::new())
        .append_pair("client_id", client_id)
        .append_pair("client_secret", client_secret.expose())
        .append_pair("grant_type", "client_credentials")
        .append_pair("scope", "api")
        .finish()
}

/// The time that `expires_in` says, at most [`MAX_VALIDITY`]; `None` if it says none.
fn seconds(expires_in: &Value) -> Option<Duration> {
    let seconds: f64 = match expires_in {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds.clamp(0.0, MAX_VALIDITY.as_secs_f64())).ok()
}

impl Token {
    /// Reads the answer to a request for a token.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when there is no token in it, or one that fits into no header.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Error> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| Error::Unreadable("the access token is missing"))?;
        let is_usable =
            !answer.access_token.is_empty() && answer.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_usable {
            return Err(Error::Unreadable("the access token has characters that no header may have"));
        }
        let validity = answer.expires_in.as_ref().and_then(seconds).unwrap_or(DEFAULT_VALIDITY);
        let until = Instant::now() + validity.saturating_sub(MARGIN).max(validity / 2);
        Ok(Self { secret: Secret::new(answer.access_token), until })
    }

    pub(super) fn is_valid(&self) -> bool {
        Instant::now() < self.until
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.secret == other.secret
    }

    /// `request` with the token. The header is marked as sensitive.
    pub(super) fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(self.secret.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_before_it_runs_out() {
        let left = |json: &str| Token::parse(json.as_bytes()).unwrap().until - Instant::now();
        let about = |left: Duration, seconds: u64| {
            left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 5)
        };
        assert!(about(left(r#"{"access_token":"a","expires_in":3599}"#), 3539));
        assert!(about(left(r#"{"access_token":"a","expires_in":20}"#), 10));
        assert!(about(left(r#"{"access_token":"a"}"#), 240));
        assert!(about(left(r#"{"access_token":"a","expires_in":"3599"}"#), 3539));
        assert!(about(left(r#"{"access_token":"a","expires_in":3599.5}"#), 3540));
        assert!(about(left(r#"{"access_token":"a","expires_in":1e300}"#), 86_340));
        for unknown in ["null", "[]", r#""soon""#, r#""NaN""#] {
            assert!(about(left(&format!(r#"{{"access_token":"a","expires_in":{unknown}}}"#)), 240), "{unknown}");
        }
        assert!(!Token::parse(br#"{"access_token":"a","expires_in":0}"#).unwrap().is_valid());
    }

    #[test]
    fn an_answer_without_a_usable_token_is_refused() {
        for body in ["", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a b"}"#, r#"{"access_token":7}"#] {
            assert!(matches!(Token::parse(body.as_bytes()), Err(Error::Unreadable(_))), "{body}");
        }
    }

    #[test]
    fn the_form_escapes_its_values() {
        let secret = Secret::new("s&=%".to_owned());
        assert_eq!(
            form("a b", &secret),
            "client_id=a+b&client_secret=s%26%3D%25&grant_type=client_credentials&scope=api"
        );
    }
}

//! Access tokens: opaque random text, valid for a while. They do not come from the seed, so that none can be guessed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// Maximum number of valid tokens. The oldest is forgotten first.
const MAX_TOKENS: usize = 10_000;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A backend's calls of Lean's API.
    Api,
    /// One customer's LinkSDK.
    Customer,
}

struct Token {
    text: String,
    scope: Scope,
    expires: Instant,
}

/// The tokens that were issued and have not expired.
pub(super) struct Tokens {
    lifetime: Duration,
    /// The oldest first, so the first to expire.
    issued: VecDeque<Token>,
}

impl Tokens {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, issued: VecDeque::new() }
    }

    /// Issues a token; returns it and its lifetime.
    pub(super) fn issue(&mut self, scope: Scope, now: Instant) -> (String, Duration) {
        while self.issued.len() >= MAX_TOKENS || self.issued.front().is_some_and(|oldest| oldest.expires <= now) {
            self.issued.pop_front();
        }
        let text = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.issued.push_back(Token { text: text.clone(), scope, expires: now + self.lifetime });
        (text, self.lifetime)
    }

    /// The scope of a valid token.
    pub(super) fn scope(&self, text: &str, now: Instant) -> Option<Scope> {
        self.issued.iter().find(|token| token.text == text && now < token.expires).map(|token| token.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_until_its_lifetime_has_passed() {
        let (mut tokens, now) = (Tokens::new(Duration::from_secs(3599)), Instant::now());
        let (token, lifetime) = tokens.issue(Scope::Api, now);
        assert_eq!(tokens.scope(&token, now), Some(Scope::Api));
        assert_eq!(tokens.scope(&token, now + lifetime - Duration::from_nanos(1)), Some(Scope::Api));
        assert_eq!(tokens.scope(&token, now + lifetime), None);
        assert_eq!(tokens.scope("", now), None);
    }

    #[test]
    fn the_oldest_token_gives_way() {
        let (mut tokens, now) = (Tokens::new(Duration::from_secs(3599)), Instant::now());
        let first = tokens.issue(Scope::Api, now).0;
        let second = tokens.issue(Scope::Customer, now).0;
        for _ in 1..MAX_TOKENS {
            tokens.issue(Scope::Api, now);
        }
        assert_eq!((tokens.scope(&first, now), tokens.scope(&second, now)), (None, Some(Scope::Customer)));
    }
}

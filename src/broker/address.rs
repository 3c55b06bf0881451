//! The broker's address, with the heartbeat that a half-open connection is noticed by.

use std::str::FromStr;

use lapin::uri::AMQPUri;

/// Seconds between two heartbeats unless the URL says otherwise: a half-open connection is noticed within two of them.
const HEARTBEAT: u16 = 10;

/// The heartbeat to ask RabbitMQ for, in seconds: four fifths of the one that is wanted, so that silence is noticed within two of
/// those. lapin looks each half heartbeat whether two have passed, and so may notice half of one late. 0 is none, and stays so.
fn to_ask_for(heartbeat: u16) -> u16 {
    if heartbeat == 0 { 0 } else { (heartbeat - heartbeat.div_ceil(5)).max(1) }
}

/// Where RabbitMQ is, and who to be there. Never shown: it holds a password.
#[derive(Clone)]
pub struct Address(AMQPUri);

impl Address {
    /// Reads an `amqp://` or `amqps://` URL; `None` if it is none.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let mut uri = AMQPUri::from_str(url).ok()?;
        uri.query.heartbeat = Some(to_ask_for(uri.query.heartbeat.unwrap_or(HEARTBEAT)));
        Some(Self(uri))
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_and_a_half_of_what_is_asked_for_are_two_of_what_is_wanted() {
        assert_eq!([0, 1, 2, 4, 10, 60].map(to_ask_for), [0, 1, 1, 3, 8, 48]);
        for heartbeat in 2..=u16::MAX {
            let asked = to_ask_for(heartbeat);
            assert!(asked > 0 && u32::from(asked) * 5 <= u32::from(heartbeat) * 4, "{heartbeat}: {asked}");
        }
    }

    #[test]
    fn the_default_heartbeat_is_ten_seconds_and_the_url_may_say_otherwise() {
        let asked = |url: &str| Address::parse(url).and_then(|address| address.uri().query.heartbeat);
        assert_eq!(asked("amqp://localhost"), Some(8));
        assert_eq!(asked("amqp://localhost/%2f?heartbeat=5"), Some(4));
    }
}

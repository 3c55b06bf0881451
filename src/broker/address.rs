//! RabbitMQ's address, the heartbeat that detects a half-open connection, and the deadline of requests.

use std::str::FromStr;
use std::time::Duration;

use lapin::uri::AMQPUri;

use super::error::DEADLINE;
use crate::failpoints;

/// Seconds between heartbeats unless the URL has a `heartbeat` parameter. Silence is detected within two of them.
const DEFAULT_HEARTBEAT: u16 = 10;

/// Where RabbitMQ is, and the credentials for it. Has no `Debug` because it holds a password.
#[derive(Clone)]
pub struct Address {
    pub(super) uri: AMQPUri,
    /// For connecting, and for each request.
    pub(super) deadline: Duration,
}

impl Address {
    /// Parses an `amqp://` or `amqps://` URL; `None` if `url` is not one.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let mut uri = AMQPUri::from_str(url).ok()?;
        uri.query.heartbeat = Some(heartbeat_to_request(uri.query.heartbeat.unwrap_or(DEFAULT_HEARTBEAT)));
        Some(Self { uri, deadline: failpoints::deadline(DEADLINE) })
    }

    /// The same address with another deadline than [`DEADLINE`], so that tests need not wait for it.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }
}

/// The heartbeat to request from RabbitMQ, in seconds, so that silence is detected within two heartbeats of `wanted`
/// seconds: four fifths of it. 0 means no heartbeat and stays 0.
///
/// lapin 4.12.3 checks only once per half heartbeat whether two have passed (`src/heartbeat.rs`), so it may detect
/// silence half a heartbeat late. No upstream issue was found. Request `wanted` itself once lapin checks exactly.
fn heartbeat_to_request(wanted: u16) -> u16 {
    if wanted == 0 { 0 } else { (wanted - wanted.div_ceil(5)).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_and_a_half_requested_heartbeats_are_at_most_two_wanted_ones() {
        assert_eq!([0, 1, 2, 4, 10, 60].map(heartbeat_to_request), [0, 1, 1, 3, 8, 48]);
        for wanted in 2..=u16::MAX {
            let requested = heartbeat_to_request(wanted);
            assert!(requested > 0 && u32::from(requested) * 5 <= u32::from(wanted) * 4, "{wanted}: {requested}");
        }
    }

    #[test]
    fn the_heartbeat_is_ten_seconds_unless_the_url_sets_another() {
        let requested = |url: &str| Address::parse(url).and_then(|address| address.uri.query.heartbeat);
        assert_eq!(requested("amqp://localhost"), Some(8));
        assert_eq!(requested("amqp://localhost/%2f?heartbeat=5"), Some(4));
    }
}

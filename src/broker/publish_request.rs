//! A message that waits to be published and confirmed, and the caller that waits for the outcome.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::Error;
use super::outgoing::Outgoing;

/// A request to publish one message.
pub(super) struct PublishRequest {
    pub(super) outgoing: Outgoing,
    requested_at: Instant,
    pub(super) deadline: Instant,
    reply: oneshot::Sender<Result<(), Error>>,
}

impl PublishRequest {
    /// A request made now, to be confirmed within `timeout`. The outcome goes to `reply`.
    pub(super) fn new(outgoing: Outgoing, timeout: Duration, reply: oneshot::Sender<Result<(), Error>>) -> Self {
        let requested_at = Instant::now();
        Self { outgoing, requested_at, deadline: requested_at + timeout, reply }
    }

    /// Sends the outcome to the caller, if it still waits.
    pub(super) fn complete(self, outcome: Result<(), Error>) {
        let _ = self.reply.send(outcome);
    }

    /// Whether the caller no longer waits: it is gone, or the deadline passed before a channel was open.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed() || self.deadline <= Instant::now()
    }

    /// Whether at least half of the time up to the deadline remained at `published_at`. Only then does a timeout
    /// condemn the channel.
    pub(super) fn was_published_early(&self, published_at: Instant) -> bool {
        self.deadline - published_at >= (self.deadline - self.requested_at) / 2
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lapin::BasicProperties;

    use super::*;

    impl PublishRequest {
        /// A request for an empty message with this id and four seconds to go, and its outcome.
        pub(in super::super) fn mock(id: &str) -> (Self, oneshot::Receiver<Result<(), Error>>) {
            let properties = BasicProperties::default().with_message_id(id.into());
            let (exchange, routing_key) = (String::new(), String::new());
            let outgoing = Outgoing { id: id.to_owned(), exchange, routing_key, properties, body: Bytes::new() };
            let (reply, outcome) = oneshot::channel();
            (Self::new(outgoing, Duration::from_secs(4), reply), outcome)
        }
    }

    #[test]
    fn a_message_is_published_early_while_half_of_its_time_remains() {
        let (request, _outcome) = PublishRequest::mock("a");
        assert!(request.was_published_early(request.requested_at + Duration::from_secs(2)));
        assert!(!request.was_published_early(request.requested_at + Duration::from_secs(3)));
    }

    #[test]
    fn a_request_is_abandoned_once_its_caller_is_gone() {
        let (request, outcome) = PublishRequest::mock("a");
        assert!(!request.is_abandoned());
        drop(outcome);
        assert!(request.is_abandoned());
    }
}

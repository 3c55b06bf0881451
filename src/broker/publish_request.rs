//! A request to the publishing task.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::Error;
use super::message::Outgoing;

/// Whether RabbitMQ has confirmed a message and routed it, once that is known. Closed without an answer if its connection is lost.
pub(super) type Outcome = oneshot::Receiver<Result<(), Error>>;

/// A message to be published, and the caller that waits for the outcome.
pub(super) struct PublishRequest {
    pub(super) outgoing: Outgoing,
    requested_at: Instant,
    pub(super) deadline: Instant,
    reply: oneshot::Sender<Result<(), Error>>,
}

impl PublishRequest {
    /// A request made now, to be confirmed until `deadline`, and its outcome.
    pub(super) fn new(outgoing: Outgoing, deadline: Instant) -> (Self, Outcome) {
        let (reply, outcome) = oneshot::channel();
        (Self { outgoing, requested_at: Instant::now(), deadline, reply }, outcome)
    }

    /// Sends the outcome to the caller, if it still waits.
    pub(super) fn complete(self, outcome: Result<(), Error>) {
        let _ = self.reply.send(outcome);
    }

    /// Whether the caller no longer waits: it is gone, or the deadline passed before a channel was open.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed() || self.deadline <= Instant::now()
    }

    /// Whether at least half of the time remained at `published_at`. Only then does a timeout condemn the channel.
    pub(super) fn was_published_early(&self, published_at: Instant) -> bool {
        self.deadline - published_at >= (self.deadline - self.requested_at) / 2
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::{Message, Topology};
    use crate::domain::retry::Schedule;
    use crate::domain::timestamp::Timestamp;

    /// A request for a message with this id and four seconds to go, and its outcome.
    pub(in crate::broker) fn request(id: &str) -> (PublishRequest, Outcome) {
        let topology = Topology::new("ns", Schedule::parse("5s").unwrap(), 20);
        let message = Message { id: id.to_owned(), ..Message::received("{}".into(), Timestamp::now(), None) };
        PublishRequest::new(Outgoing::webhook(&topology, &message), Instant::now() + Duration::from_secs(4))
    }

    #[test]
    fn a_message_is_published_early_while_half_of_its_time_remains() {
        let (request, _outcome) = request("a");
        assert!(request.was_published_early(request.requested_at + Duration::from_secs(1)));
        assert!(!request.was_published_early(request.requested_at + Duration::from_secs(3)));
    }

    #[test]
    fn a_request_is_abandoned_once_its_caller_is_gone() {
        let (request, outcome) = request("a");
        assert!(!request.is_abandoned());
        drop(outcome);
        assert!(request.is_abandoned());
    }
}

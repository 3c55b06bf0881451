//! A request to the publishing task.

use tokio::sync::oneshot;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use super::message::Outgoing;

/// Whether RabbitMQ has confirmed a message and routed it, once that is known. Closed without an answer if its connection is lost.
pub(super) type Outcome = oneshot::Receiver<Result<(), Error>>;

/// A message to be published, and the caller that waits for the outcome.
pub(super) struct PublishRequest {
    pub(super) outgoing: Outgoing,
    pub(super) unconfirmed: Unconfirmed,
}

/// What is kept of a request once its message was published.
pub(super) struct Unconfirmed {
    /// The message's id.
    pub(super) id: String,
    requested_at: Instant,
    pub(super) deadline: Instant,
    reply: oneshot::Sender<Result<(), Error>>,
}

impl PublishRequest {
    /// A request made at `requested_at`, to be confirmed until `deadline`, and its outcome. The caller must drop the outcome at the deadline.
    pub(super) fn new(mut outgoing: Outgoing, requested_at: Instant, deadline: Instant) -> (Self, Outcome) {
        let (reply, outcome) = oneshot::channel();
        // From here on only the confirm needs it; what is published has it in its properties.
        let id = std::mem::take(&mut outgoing.id);
        let unconfirmed = Unconfirmed { id, requested_at, deadline, reply };
        (Self { outgoing, unconfirmed }, outcome)
    }
}

impl Unconfirmed {
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

    /// Waits for `future` until the deadline. The caller stops waiting then, so this takes a timer only if the caller has gone before.
    pub(super) async fn until_deadline<F: Future + Unpin>(&mut self, mut future: F) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = &mut future => Ok(output),
            () = self.reply.closed() => timeout_at(self.deadline, future).await,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;
    use crate::broker::{Message, Topology};
    use crate::domain::retry::Schedule;
    use crate::domain::timestamp::Timestamp;

    /// A request for a message with this id and four seconds to go, and its outcome.
    pub(in crate::broker) fn request(id: &str) -> (PublishRequest, Outcome) {
        let topology = Topology::new("ns", Schedule::parse("5s").unwrap(), 20);
        let message = Message { id: id.to_owned(), ..Message::received("{}".into(), Timestamp::now(), None) };
        let now = Instant::now();
        PublishRequest::new(Outgoing::webhook(&topology, &message), now, now + Duration::from_secs(4))
    }

    #[test]
    fn a_message_is_published_early_while_half_of_its_time_remains() {
        let (PublishRequest { unconfirmed, .. }, _outcome) = request("a");
        assert!(unconfirmed.was_published_early(unconfirmed.requested_at + Duration::from_secs(1)));
        assert!(!unconfirmed.was_published_early(unconfirmed.requested_at + Duration::from_secs(3)));
    }

    #[test]
    fn a_request_is_abandoned_once_its_caller_is_gone() {
        let (PublishRequest { unconfirmed, .. }, outcome) = request("a");
        assert!(!unconfirmed.is_abandoned());
        drop(outcome);
        assert!(unconfirmed.is_abandoned());
    }

    #[tokio::test]
    async fn an_answer_is_awaited_until_the_deadline_even_if_the_caller_is_gone() {
        let (PublishRequest { mut unconfirmed, .. }, outcome) = request("a");
        drop(outcome);
        assert!(unconfirmed.until_deadline(pin!(tokio::task::yield_now())).await.is_ok());
        unconfirmed.deadline = Instant::now();
        assert!(unconfirmed.until_deadline(std::future::pending::<()>()).await.is_err());
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_at_the_deadline_ends_the_wait_for_an_answer() {
        let (PublishRequest { mut unconfirmed, .. }, outcome) = request("a");
        unconfirmed.deadline = Instant::now() + Duration::from_millis(1);
        let deadline = unconfirmed.deadline;
        let caller = timeout_at(deadline, outcome);
        let (waited, gave_up) = tokio::join!(unconfirmed.until_deadline(std::future::pending::<()>()), caller);
        assert!(waited.is_err() && gave_up.is_err());
    }
}

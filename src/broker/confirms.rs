//! Decides what RabbitMQ's answers mean for the messages published on one channel.
//!
//! RabbitMQ returns an unroutable message before it confirms it. lapin 4.12.3 attaches a return to the confirm that
//! completes next (since <https://github.com/amqp-rs/lapin/issues/252>), which may be another message's: with many
//! publishes in flight, 7 to 8 % of the returns were observed on the wrong confirm. So returns are matched by message id.
//!
//! The publisher may receive that other confirm after the returned message's own ack, because futures are polled in any
//! order. So an ack counts as success only at the next barrier: a future that is ready when it is pushed. Once it is yielded,
//! every answer that was ready before it has been processed. This can go once lapin matches returns to their publishes.

use std::collections::HashSet;

use lapin::Confirmation;
use lapin::message::BasicReturnMessage;
use tokio::time::Instant;

use super::error::Error;
use super::publish_request::Unconfirmed;

/// The answers received on one publishing channel, and what they say about the channel.
#[derive(Default)]
pub(super) struct Confirms {
    /// Ids of messages whose return was attached to another confirm. An id is never removed: two messages may have the
    /// same one, and the channel is closed soon after the first return.
    returned_ids: HashSet<String>,
    /// Acked messages that the next barrier completes. A barrier is in flight exactly while there are any.
    acked: Vec<Unconfirmed>,
    /// Messages acked after that barrier was pushed; they wait for the barrier after it.
    acked_behind_barrier: Vec<Unconfirmed>,
    /// Whether any message was returned.
    pub(super) any_returned: bool,
    /// Whether any message was published successfully.
    pub(super) any_success: bool,
}

/// What the publisher has to do after an answer or a barrier.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    PushBarrier,
    DiscardChannel,
}

impl Confirms {
    /// Takes RabbitMQ's answer to a message published at `published_at`. A failure completes it at once.
    pub(super) fn on_answer(
        &mut self,
        message: Unconfirmed,
        published_at: Instant,
        answer: Result<Confirmation, Error>,
    ) -> Next {
        match self.evaluate(&message, answer) {
            Ok(()) if self.acked.is_empty() => {
                self.acked.push(message);
                Next::PushBarrier
            }
            Ok(()) => {
                self.acked_behind_barrier.push(message);
                Next::Continue
            }
            Err(error) => self.fail(message, published_at, error),
        }
    }

    /// Completes the message with its error. A timeout may condemn the channel: RabbitMQ may be stuck, and lapin 4.12.3
    /// keeps the confirm that was given up until the channel ends (`src/returned_messages.rs`).
    fn fail(&mut self, message: Unconfirmed, published_at: Instant, error: Error) -> Next {
        let is_channel_failure = match &error {
            Error::TimedOut => message.was_published_early(published_at),
            error => matches!(error, Error::Amqp(_) | Error::Precondition(_)),
        };
        self.any_returned |= matches!(error, Error::Returned);
        message.complete(Err(error));
        if is_channel_failure { Next::DiscardChannel } else { Next::Continue }
    }

    /// Takes the answer to a message whose request was completed at its deadline. It may carry the return of another message.
    pub(super) fn on_late_answer(&mut self, id: &str, answer: Result<Confirmation, Error>) -> Next {
        match answer {
            Ok(confirmation) => {
                let returned = confirmation.take_message();
                self.any_returned |= returned.is_some();
                self.note_return_of_another(id, returned);
                Next::Continue
            }
            Err(_) => Next::DiscardChannel,
        }
    }

    /// Completes the acked messages, now that a return of one of them would have been received.
    pub(super) fn on_barrier(&mut self) -> Next {
        for message in self.acked.drain(..) {
            let is_returned = self.returned_ids.contains(&message.id);
            self.any_returned |= is_returned;
            self.any_success |= !is_returned;
            message.complete(if is_returned { Err(Error::Returned) } else { Ok(()) });
        }
        std::mem::swap(&mut self.acked, &mut self.acked_behind_barrier);
        if self.acked.is_empty() { Next::Continue } else { Next::PushBarrier }
    }

    /// Remembers whose return lapin attached to the confirm of the message `id`.
    fn note_return_of_another(&mut self, id: &str, attached: Option<BasicReturnMessage>) {
        if let Some(returned_id) = attached.and_then(|message| message.properties.message_id().clone())
            && returned_id.as_str() != id
        {
            self.returned_ids.insert(returned_id.to_string());
        }
    }

    /// What an answer means for its message, as far as returns have been received. In doubt the message counts as
    /// returned: publishing it again at worst duplicates it.
    fn evaluate(&mut self, message: &Unconfirmed, answer: Result<Confirmation, Error>) -> Result<(), Error> {
        let id = &message.id;
        let (is_acked, attached) = match answer? {
            Confirmation::Ack(attached) => (true, attached),
            Confirmation::Nack(attached) => (false, attached),
            Confirmation::NotRequested => return Err(Error::Amqp("publisher confirms are off".to_owned())),
        };
        let is_returned = attached.is_some() || self.returned_ids.contains(id);
        self.note_return_of_another(id, attached);
        match (is_returned, is_acked) {
            (true, _) => Err(Error::Returned),
            (false, true) => Ok(()),
            (false, false) => Err(Error::Nacked),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lapin::BasicProperties;
    use lapin::message::Delivery;
    use tokio::sync::oneshot::Receiver;

    use super::*;
    use crate::broker::publish_request::PublishRequest;
    use crate::broker::publish_request::tests::request;

    fn return_of(id: &str) -> Option<BasicReturnMessage> {
        let mut delivery = Delivery::mock(0, "".into(), "".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(id.into());
        Some(BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() })
    }

    /// Passes the answer to the message with this id; what the publishing task does next, and the message's outcome.
    fn answer(confirms: &mut Confirms, id: &str, answer: Confirmation) -> (Next, Receiver<Result<(), Error>>) {
        let (PublishRequest { unconfirmed, .. }, outcome) = request(id);
        (confirms.on_answer(unconfirmed, Instant::now(), Ok(answer)), outcome)
    }

    #[test]
    fn an_acked_message_is_published_at_the_first_barrier_pushed_after_its_ack() {
        let mut confirms = Confirms::default();
        let (after_a, mut a) = answer(&mut confirms, "a", Confirmation::Ack(None));
        let (after_b, mut b) = answer(&mut confirms, "b", Confirmation::Ack(None));
        assert_eq!((after_a, after_b), (Next::PushBarrier, Next::Continue));
        assert!(a.try_recv().is_err(), "not before the barrier");
        assert_eq!(confirms.on_barrier(), Next::PushBarrier);
        assert!(matches!(a.try_recv(), Ok(Ok(()))));
        assert!(b.try_recv().is_err(), "not before the second barrier");
        assert_eq!(confirms.on_barrier(), Next::Continue);
        assert!(matches!(b.try_recv(), Ok(Ok(()))) && confirms.any_success && !confirms.any_returned);
    }

    #[test]
    fn a_return_attached_to_another_confirm_counts_against_the_returned_message() {
        let mut confirms = Confirms::default();
        let (_, mut acked_first) = answer(&mut confirms, "b", Confirmation::Ack(None));
        let (_, mut wrong_one) = answer(&mut confirms, "a", Confirmation::Ack(return_of("b")));
        assert!(matches!(wrong_one.try_recv(), Ok(Err(Error::Returned))), "in doubt");
        let (_, mut acked_later) = answer(&mut confirms, "b", Confirmation::Ack(None));
        assert!(matches!(acked_later.try_recv(), Ok(Err(Error::Returned))));
        let (_, mut other) = answer(&mut confirms, "c", Confirmation::Ack(None));
        confirms.on_barrier();
        confirms.on_barrier();
        assert!(matches!(acked_first.try_recv(), Ok(Err(Error::Returned))));
        assert!(matches!(other.try_recv(), Ok(Ok(()))));
    }

    #[test]
    fn an_answer_after_the_deadline_still_tells_of_the_return_of_another_message() {
        let mut confirms = Confirms::default();
        let (PublishRequest { unconfirmed: late, .. }, mut timed_out) = request("a");
        let published_late = late.deadline - Duration::from_millis(1);
        assert_eq!(confirms.on_answer(late, published_late, Err(Error::TimedOut)), Next::Continue);
        assert!(matches!(timed_out.try_recv(), Ok(Err(Error::TimedOut))));
        assert_eq!(confirms.on_late_answer("a", Ok(Confirmation::Ack(return_of("b")))), Next::Continue);
        let (_, mut acked_later) = answer(&mut confirms, "b", Confirmation::Ack(None));
        confirms.on_barrier();
        assert!(matches!(acked_later.try_recv(), Ok(Err(Error::Returned))), "it is on no queue");
    }

    #[test]
    fn only_an_ack_without_a_return_is_a_success() {
        let mut confirms = Confirms::default();
        let (_, mut nacked) = answer(&mut confirms, "a", Confirmation::Nack(None));
        assert!(matches!(nacked.try_recv(), Ok(Err(Error::Nacked))));
        let (_, mut returned) = answer(&mut confirms, "a", Confirmation::Ack(return_of("a")));
        assert!(matches!(returned.try_recv(), Ok(Err(Error::Returned))));
        let (next, mut confirms_off) = answer(&mut confirms, "a", Confirmation::NotRequested);
        assert_eq!(next, Next::DiscardChannel);
        assert!(matches!(confirms_off.try_recv(), Ok(Err(Error::Amqp(_)))));
    }
}

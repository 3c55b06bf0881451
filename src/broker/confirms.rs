//! Serves one publishing channel: many publishes in flight, and for each the right verdict.
//!
//! lapin hands a returned message to whichever confirm completes next, so returns are matched by message id here. RabbitMQ
//! returns a message before it confirms it; when lapin resolves a confirm with nothing attached, its return, if there was
//! one, is attached to a confirm that was resolved before. That one may be seen after it, though, so a good verdict is held
//! back until all that was resolved by then has been seen: until a marker behind it in the same queue comes out.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Error, Outgoing};

/// Publishes in flight on the channel, at most.
const IN_FLIGHT: usize = 4096;

/// A message to publish, and who wants to know.
pub(super) struct Request {
    outgoing: Outgoing,
    asked: Instant,
    deadline: Instant,
    verdict: oneshot::Sender<Result<(), Error>>,
}

impl Request {
    /// A request made now, which may wait `within`.
    pub(super) fn new(outgoing: Outgoing, within: Duration, verdict: oneshot::Sender<Result<(), Error>>) -> Self {
        let asked = Instant::now();
        Self { outgoing, asked, deadline: asked + within, verdict }
    }

    /// Tells whoever asked that it was refused, and why.
    pub(super) fn refuse(self, error: Error) {
        let _ = self.verdict.send(Err(error));
    }

    /// Whether nobody waits for it any more: it has waited for a channel until then.
    fn is_given_up(&self) -> bool {
        self.verdict.is_closed() || self.deadline <= Instant::now()
    }

    /// Whether half of the patience or more was left when it `began` on a channel, so that no answer speaks against that one.
    fn had_its_time(&self, began: Instant) -> bool {
        self.deadline - began >= (self.deadline - self.asked) / 2
    }
}

/// How serving a channel ended.
pub(super) enum Served {
    /// Nobody is left who could ask.
    Done,
    /// The channel is of no more use.
    Failed { after_success: bool },
}

/// A request, when it was handed to the channel, and RabbitMQ's answer, or that there was none. In the queue of publishes in
/// flight, `None` in its place is the marker: everything that was resolved before it went in has been seen.
type Answered = (Request, Instant, Result<Confirmation, Error>);

/// Serves requests until nobody can ask any more, or the channel is of no more use, or its connection is `lost`.
pub(super) async fn serve(
    channel: &Channel,
    lost: impl Future<Output = ()>,
    requests: &mut mpsc::Receiver<Request>,
) -> Served {
    let mut lost = std::pin::pin!(lost);
    let mut in_flight = FuturesUnordered::new();
    // Never forgotten: the first of them is the end of this channel, and two messages may have one id.
    let mut returned = HashSet::new();
    // Confirmed, but held back: those that the next marker releases, and those that came after it went in.
    let (mut good, mut later) = (Vec::<Request>::new(), Vec::<Request>::new());
    let (mut asked, mut reopen, mut after_success) = (true, false, false);
    loop {
        if in_flight.is_empty() && !asked {
            return Served::Done;
        }
        // What came back had no queue to hold it; opening a channel declares what is missing.
        if in_flight.is_empty() && reopen {
            return Served::Failed { after_success };
        }
        tokio::select! {
            biased;
            Some(seen) = in_flight.next() => match seen {
                None => {
                    for request in good.drain(..) {
                        let came_back = returned.contains(&request.outgoing.id);
                        reopen |= came_back;
                        after_success |= !came_back;
                        let _ = request.verdict.send(if came_back { Err(Error::Returned) } else { Ok(()) });
                    }
                    good.append(&mut later);
                    if !good.is_empty() {
                        in_flight.push(Either::Right(std::future::ready(None)));
                    }
                }
                Some((request, began, answer)) => match judge(&request, answer, &mut returned) {
                    Ok(()) if good.is_empty() => {
                        good.push(request);
                        in_flight.push(Either::Right(std::future::ready(None)));
                    }
                    Ok(()) => later.push(request),
                    Err(error) => {
                        let failed = match error {
                            Error::TimedOut => request.had_its_time(began),
                            _ => matches!(error, Error::Amqp(_) | Error::Precondition(_)),
                        };
                        reopen |= matches!(error, Error::Returned);
                        request.refuse(error);
                        if failed {
                            return Served::Failed { after_success };
                        }
                    }
                },
            },
            request = requests.recv(), if asked && !reopen && in_flight.len() < IN_FLIGHT => match request {
                Some(given_up) if given_up.is_given_up() => {}
                Some(request) => in_flight.push(Either::Left(publish(channel, request))),
                None => asked = false,
            },
            () = &mut lost => return Served::Failed { after_success },
        }
    }
}

async fn publish(channel: &Channel, request: Request) -> Option<Answered> {
    let began = Instant::now();
    let Outgoing { exchange, routing_key, properties, body, .. } = &request.outgoing;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let confirmed = async {
        let (exchange, routing_key) = (exchange.as_str().into(), routing_key.as_str().into());
        channel.basic_publish(exchange, routing_key, options, body, properties.clone()).await?.await
    };
    let answer = match timeout_at(request.deadline, confirmed).await {
        Ok(answer) => answer.map_err(Error::from),
        Err(_) => Err(Error::TimedOut),
    };
    Some((request, began, answer))
}

/// What an answer means for the message that was asked about, as far as has been seen; `returned` holds the ids that came
/// back beside another's confirm. Where in doubt the message counts as returned: publishing it again doubles it at worst.
fn judge(request: &Request, answer: Result<Confirmation, Error>, returned: &mut HashSet<String>) -> Result<(), Error> {
    let (acked, attached) = match answer? {
        Confirmation::Ack(attached) => (true, attached),
        Confirmation::Nack(attached) => (false, attached),
        Confirmation::NotRequested => return Err(Error::Amqp("publisher confirms are off".to_owned())),
    };
    let came_back = returned.contains(&request.outgoing.id) || attached.is_some();
    if let Some(id) = attached.and_then(|message| message.properties.message_id().clone())
        && id.as_str() != request.outgoing.id
    {
        returned.insert(id.to_string());
    }
    match (came_back, acked) {
        (true, _) => Err(Error::Returned),
        (false, true) => Ok(()),
        (false, false) => Err(Error::Nacked),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lapin::BasicProperties;
    use lapin::message::{BasicReturnMessage, Delivery};

    use super::*;

    fn request(id: &str) -> Request {
        let properties = BasicProperties::default().with_message_id(id.into());
        let (exchange, routing_key) = (String::new(), String::new());
        let outgoing = Outgoing { id: id.to_owned(), exchange, routing_key, properties, body: Bytes::new() };
        Request::new(outgoing, Duration::from_secs(4), oneshot::channel().0)
    }

    fn return_of(id: &str) -> Option<BasicReturnMessage> {
        let mut delivery = Delivery::mock(0, "".into(), "".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(id.into());
        Some(BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() })
    }

    fn judged(id: &str, answer: Confirmation, returned: &mut HashSet<String>) -> Result<(), Error> {
        judge(&request(id), Ok(answer), returned)
    }

    #[test]
    fn a_request_without_an_answer_speaks_against_a_channel_that_had_half_of_its_time() {
        let late = request("late");
        assert!(late.had_its_time(late.asked + Duration::from_secs(2)));
        assert!(!late.had_its_time(late.asked + Duration::from_secs(3)));
        assert!(late.is_given_up(), "whoever asked is gone");
    }

    #[test]
    fn a_return_beside_anothers_confirm_is_counted_against_the_right_message() {
        let mut returned = HashSet::new();
        assert!(judged("a", Confirmation::Ack(return_of("b")), &mut returned).is_err());
        assert!(matches!(judged("b", Confirmation::Ack(None), &mut returned), Err(Error::Returned)));
        assert!(judged("b", Confirmation::Ack(None), &mut returned).is_err(), "another of that id, in doubt");
        assert!(judged("c", Confirmation::Ack(None), &mut returned).is_ok());
    }

    #[test]
    fn only_a_confirm_with_nothing_attached_is_a_yes() {
        let mut returned = HashSet::new();
        assert!(matches!(judged("a", Confirmation::Nack(None), &mut returned), Err(Error::Nacked)));
        assert!(matches!(judged("a", Confirmation::Ack(return_of("a")), &mut returned), Err(Error::Returned)));
        assert!(judged("a", Confirmation::NotRequested, &mut returned).is_err());
    }
}

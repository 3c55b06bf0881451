//! Publishes and says whether RabbitMQ has the message: confirmed, and routed to a queue.
//!
//! One task owns the channel, because lapin mixes up confirms when tasks share one. It also hands a returned message to
//! whichever confirm completes next, so returns are matched by message id here. That is sound for the order of things:
//! RabbitMQ returns a message before it confirms it, lapin resolves confirms one after the other, and this task sees them in
//! that order; so when a confirm arrives with nothing attached, its own return has been seen, if there was one.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{Error, Link, Outgoing, in_time};

/// Publishes that wait for the task, beside those in flight.
const WAITING: usize = 1024;
/// Publishes in flight on the channel, at most.
const IN_FLIGHT: usize = 4096;
/// The pause before a channel is opened again after one that failed.
const REOPEN: Duration = Duration::from_millis(100);

/// A handle to the task that owns a publishing channel. Clones share it; the task ends with the last of them.
#[derive(Clone)]
pub struct Publisher {
    link: Link,
    requests: mpsc::Sender<Request>,
}

struct Request {
    outgoing: Outgoing,
    deadline: Instant,
    verdict: oneshot::Sender<Result<(), Error>>,
}

impl Publisher {
    /// Starts the task on `tasks`, over a supervised connection.
    #[must_use]
    pub fn start(link: Link, tasks: &TaskTracker) -> Self {
        let (requests, waiting) = mpsc::channel(WAITING);
        tasks.spawn(own_channel(link.clone(), waiting));
        Self { link, requests }
    }

    /// The connection it publishes on.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Publishes one message, mandatory, and waits for the confirm no longer than `within`.
    ///
    /// # Errors
    /// Anything but a confirm of a routed message. After [`Error::TimedOut`] or a lost connection the message may be on its
    /// queue all the same, so publishing it again may double it.
    pub async fn publish(&self, outgoing: Outgoing, within: Duration) -> Result<(), Error> {
        self.link.ready()?;
        let deadline = Instant::now() + within;
        let (verdict, told) = oneshot::channel();
        let request = Request { outgoing, deadline, verdict };
        let asked = timeout_at(deadline, self.requests.send(request)).await.map_err(|_| Error::TimedOut)?;
        asked.map_err(|_| Error::Disconnected)?;
        timeout_at(deadline, told).await.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Disconnected)?
    }
}

/// Opens a channel whenever there is none, and serves requests on it until it fails.
async fn own_channel(link: Link, mut requests: mpsc::Receiver<Request>) {
    loop {
        tokio::select! {
            () = link.until_ready() => {}
            () = refuse(&mut requests) => return,
        }
        // There is a connection, so a channel is a moment away: whoever asks now waits for it, within its own deadline.
        match open(&link).await {
            Ok(channel) => match serve(&channel, &mut requests).await {
                Served::Done => return,
                Served::Failed => debug!("the publishing channel is thrown away and opened again"),
            },
            Err(error) => warn!(%error, "cannot open a publishing channel"),
        }
        sleep(REOPEN).await;
    }
}

async fn open(link: &Link) -> Result<Channel, Error> {
    let channel = link.channel().await?;
    in_time(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// Answers whoever asks while there is no connection; ends when nobody can ask any more.
async fn refuse(requests: &mut mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        let _ = request.verdict.send(Err(Error::Disconnected));
    }
}

enum Served {
    /// Nobody is left who could ask.
    Done,
    /// The channel is of no more use.
    Failed,
}

async fn serve(channel: &Channel, requests: &mut mpsc::Receiver<Request>) -> Served {
    let mut in_flight = FuturesUnordered::new();
    let mut returned = HashSet::new();
    let (mut asked, mut reopen) = (true, false);
    loop {
        if in_flight.is_empty() && !asked {
            return Served::Done;
        }
        // What came back had no queue to hold it; opening a channel declares what is missing.
        if in_flight.is_empty() && reopen {
            return Served::Failed;
        }
        tokio::select! {
            biased;
            Some((request, answer)) = in_flight.next() => {
                let verdict = judge(&request, answer, &mut returned);
                let failed = matches!(verdict, Err(Error::TimedOut | Error::Amqp(_) | Error::Precondition(_)));
                reopen |= matches!(verdict, Err(Error::Returned));
                let _ = request.verdict.send(verdict);
                if failed {
                    return Served::Failed;
                }
            }
            request = requests.recv(), if asked && !reopen && in_flight.len() < IN_FLIGHT => match request {
                Some(request) => in_flight.push(publish(channel, request)),
                None => asked = false,
            },
        }
    }
}

async fn publish(channel: &Channel, request: Request) -> (Request, Result<Confirmation, Error>) {
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
    (request, answer)
}

/// What an answer means for the message that was asked about; `returned` holds the ids that came back beside another's
/// confirm. Where in doubt the message counts as returned: publishing it again doubles it at worst.
fn judge(
    request: &Request,
    answer: Result<Confirmation, Error>,
    returned: &mut HashSet<String>,
) -> Result<(), Error> {
    let (acked, attached) = match answer? {
        Confirmation::Ack(attached) => (true, attached),
        Confirmation::Nack(attached) => (false, attached),
        Confirmation::NotRequested => return Err(Error::Amqp("publisher confirms are off".to_owned())),
    };
    let came_back = returned.remove(&request.outgoing.id) || attached.is_some();
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
        Request { outgoing, deadline: Instant::now(), verdict: oneshot::channel().0 }
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
    fn a_return_beside_anothers_confirm_is_counted_against_the_right_message() {
        let mut returned = HashSet::new();
        assert!(judged("a", Confirmation::Ack(return_of("b")), &mut returned).is_err());
        assert!(matches!(judged("b", Confirmation::Ack(None), &mut returned), Err(Error::Returned)));
        assert!(judged("c", Confirmation::Ack(None), &mut returned).is_ok());
        assert!(returned.is_empty());
    }

    #[test]
    fn only_a_confirm_with_nothing_attached_is_a_yes() {
        let mut returned = HashSet::new();
        assert!(matches!(judged("a", Confirmation::Nack(None), &mut returned), Err(Error::Nacked)));
        assert!(matches!(judged("a", Confirmation::Ack(return_of("a")), &mut returned), Err(Error::Returned)));
        assert!(judged("a", Confirmation::NotRequested, &mut returned).is_err());
    }
}

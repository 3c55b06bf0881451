//! Publishes on one channel for as long as it lives, with many messages in flight.

use futures_util::StreamExt;
use futures_util::future::{Either, ready};
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::confirms::{Confirms, Next, PublishRequest};
use super::error::Error;
use super::outgoing::Outgoing;

/// Maximum number of unconfirmed messages on the channel.
const MAX_IN_FLIGHT: usize = 4096;

/// What a future in flight resolves to.
#[expect(clippy::large_enum_variant, reason = "boxing would cost an allocation per message")]
enum Progress {
    /// A message, when it was handed to lapin, and RabbitMQ's answer, or why there is none.
    Answer(PublishRequest, Instant, Result<Confirmation, Error>),
    /// See [`Confirms`]: every answer that was ready when the barrier was pushed has been received.
    Barrier,
}

/// Publishes `requests` on `channel` until it is unusable or `connection_lost` completes, and returns its confirms;
/// requests still in flight fail with [`Error::Disconnected`]. Returns `None` once no publisher is left and every
/// message is answered.
pub(super) async fn serve(
    channel: &Channel,
    connection_lost: impl Future<Output = ()>,
    requests: &mut mpsc::Receiver<PublishRequest>,
) -> Option<Confirms> {
    let mut connection_lost = std::pin::pin!(connection_lost);
    let mut in_flight = FuturesUnordered::new();
    let mut confirms = Confirms::default();
    let mut has_publishers = true;
    loop {
        if in_flight.is_empty() && !has_publishers {
            return None;
        }
        // A returned message found no queue. Opening another channel declares the missing one.
        if in_flight.is_empty() && confirms.any_returned {
            return Some(confirms);
        }
        let accepts_requests = has_publishers && !confirms.any_returned && in_flight.len() < MAX_IN_FLIGHT;
        tokio::select! {
            biased;
            Some(progress) = in_flight.next() => {
                let next = match progress {
                    Progress::Answer(request, at, answer) => confirms.on_answer(request, at, answer),
                    Progress::Barrier => confirms.on_barrier(),
                };
                match next {
                    Next::Continue => {}
                    Next::PushBarrier => in_flight.push(Either::Right(ready(Progress::Barrier))),
                    Next::DiscardChannel => return Some(confirms),
                }
            }
            request = requests.recv(), if accepts_requests => match request {
                Some(request) if request.is_abandoned() => {}
                Some(request) => in_flight.push(Either::Left(publish(channel, request))),
                None => has_publishers = false,
            },
            () = &mut connection_lost => return Some(confirms),
        }
    }
}

async fn publish(channel: &Channel, request: PublishRequest) -> Progress {
    let published_at = Instant::now();
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
    Progress::Answer(request, published_at, answer)
}

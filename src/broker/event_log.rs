//! Reads the stream of events from a time on to its present end.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::AMQPValue;
use lapin::{Channel, Consumer};
use tokio::time::timeout;

use super::connection::Connection;
use super::error::{Error, within};
use super::headers::{Headers, table};

/// Maximum number of unacknowledged events. A stream has no other flow control.
const PREFETCH: u16 = 1000;
/// After how long without an event the end is reached. RabbitMQ does not tell: it counts the messages of a stream every 5 s only.
const MAX_IDLE: Duration = Duration::from_secs(1);
/// How many events are read beyond the chunk that was the last one at the beginning, of a stream that is never idle.
const MAX_BEYOND: u64 = 10_000;

/// Calls `read` with the body of each event that was published at `since` or later, in their order, up to the present end of the
/// stream. RabbitMQ begins at a chunk, so some earlier events may come first.
///
/// # Errors
/// Those of [opening a channel](Error).
pub async fn read_event_log(
    connection: &Connection,
    since: DateTime<Utc>,
    mut read: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let Some(last_chunk) = first_offset_of(connection, AMQPValue::LongString("last".into())).await? else {
        return Ok(());
    };
    let channel = connection.channel().await?;
    let since = AMQPValue::Timestamp(since.timestamp().unsigned_abs());
    let mut events = consume(connection, &channel, since).await?;
    let mut is_last_chunk = false;
    loop {
        // Before the last chunk, silence is no end.
        let event = match timeout(if is_last_chunk { MAX_IDLE } else { connection.deadline }, events.next()).await {
            Ok(event) => event.ok_or(Error::Disconnected)??,
            Err(_) if is_last_chunk => break,
            Err(_) => return Err(Error::TimedOut),
        };
        read(&event.data);
        is_last_chunk |= offset(&event) >= last_chunk;
        if offset(&event) > last_chunk + MAX_BEYOND {
            break;
        }
        within(connection.deadline, channel.basic_ack(event.delivery_tag, BasicAckOptions::default())).await?;
    }
    let _ = within(connection.deadline, channel.close(200, "read".into())).await;
    Ok(())
}

/// The offset of the first event that is delivered from there; `None` if there is none.
async fn first_offset_of(connection: &Connection, from: AMQPValue) -> Result<Option<u64>, Error> {
    let channel = connection.channel().await?;
    let mut events = consume(connection, &channel, from).await?;
    let first = match timeout(MAX_IDLE, events.next()).await {
        Ok(first) => Some(offset(&first.ok_or(Error::Disconnected)??)),
        Err(_) => None,
    };
    let _ = within(connection.deadline, channel.close(200, "read".into())).await;
    Ok(first)
}

/// Consumes the stream from there on.
async fn consume(connection: &Connection, channel: &Channel, from: AMQPValue) -> Result<Consumer, Error> {
    let log = connection.topology().event_log();
    within(connection.deadline, channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), table([("x-stream-offset", from)]));
    within(connection.deadline, channel.basic_consume(log.as_str().into(), "".into(), options, arguments)).await
}

fn offset(event: &lapin::message::Delivery) -> u64 {
    Headers::of(&event.properties).number("x-stream-offset").unwrap_or(0)
}

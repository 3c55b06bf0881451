//! Declares the topology on RabbitMQ, and handles exchanges and queues that exist with other arguments.
//!
//! RabbitMQ refuses a declaration that differs from what exists with 406 and names one differing argument. An operator
//! may choose the numeric ones, so an existing value is kept, with a warning. Any other difference could lose messages,
//! so it stops the start.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tracing::warn;

use super::deadline::within;
use super::error::Error;
use super::topology::{Declaration, Topology};

/// The queue arguments that are numbers or durations, and do not change which messages are kept.
const NUMERIC_ARGUMENTS: [&str; 8] = [
    "x-delivery-limit",
    "x-message-ttl",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-max-length",
    "x-max-length-bytes",
    "x-quorum-initial-group-size",
    "x-expires",
];

/// Declares all of `topology`, with `deadline` for each request. What exists as declared stays as it is.
///
/// # Errors
/// - [`Error::Mismatch`] when an existing exchange or queue differs in more than a numeric argument.
/// - [`Error::TimedOut`] or [`Error::Amqp`] when the connection fails.
pub(super) async fn declare(connection: &Connection, topology: &Topology, deadline: Duration) -> Result<(), Error> {
    let mut channel = within(deadline, connection.create_channel()).await?;
    for declaration in topology.declarations() {
        match declaration {
            Declaration::Exchange { name, kind, arguments } => {
                let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
                let declared = channel.exchange_declare(name.as_str().into(), kind, options, arguments);
                within(deadline, declared)
                    .await
                    .map_err(|error| mismatch(&error, "exchange", &name).unwrap_or(error))?;
            }
            Declaration::Queue { name, arguments } => {
                channel = declare_queue(connection, channel, &name, arguments, deadline).await?;
            }
            Declaration::Binding { exchange, queue, key } => {
                let (queue, exchange, key) = (queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
                let bound =
                    channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default());
                within(deadline, bound).await?;
            }
        }
    }
    within(deadline, channel.close(200, "declared".into())).await
}

/// Declares a queue, with the numeric arguments of an existing one, and returns an open channel: RabbitMQ closes the
/// channel of a declaration that it refuses.
async fn declare_queue(
    connection: &Connection,
    mut channel: Channel,
    name: &str,
    mut arguments: FieldTable,
    deadline: Duration,
) -> Result<Channel, Error> {
    // One attempt for each numeric argument that may differ, and one that succeeds.
    for _ in 0..=NUMERIC_ARGUMENTS.len() {
        let declared = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments.clone());
        let Err(error) = within(deadline, declared).await else { return Ok(channel) };
        let Some(Difference { argument, current }) = Difference::parse(&error).filter(Difference::is_numeric) else {
            return Err(mismatch(&error, "queue", name).unwrap_or(error));
        };
        warn!(queue = name, argument, current, "the queue exists with another value of this argument, which stays");
        arguments = replace_argument(&arguments, &argument, current.as_deref());
        channel = within(deadline, connection.create_channel()).await?;
    }
    Err(Error::Mismatch(format!("queue {name} differs in more arguments than are numeric")))
}

/// How an existing exchange or queue differs from its declaration.
struct Difference {
    argument: String,
    /// The existing value; `None` if the argument is not set.
    current: Option<String>,
}

impl Difference {
    /// Parses `inequivalent arg 'NAME' for … but current is the value 'VALUE' of type …`, or `… current is none`.
    fn parse(error: &Error) -> Option<Self> {
        let Error::Precondition(text) = error else { return None };
        let argument = first_quoted(text.split_once("inequivalent arg ")?.1)?;
        let current = text.split_once("but current is ").and_then(|(_, current)| first_quoted(current));
        Some(Self { argument, current })
    }

    fn is_numeric(&self) -> bool {
        NUMERIC_ARGUMENTS.contains(&self.argument.as_str())
    }
}

fn first_quoted(text: &str) -> Option<String> {
    text.split('\'').nth(1).map(str::to_owned)
}

/// The arguments with `argument` set to its existing value, or without it if it is not set.
fn replace_argument(arguments: &FieldTable, argument: &str, current: Option<&str>) -> FieldTable {
    let mut replaced = FieldTable::default();
    for (name, value) in arguments.inner().iter().filter(|(name, _)| name.as_str() != argument) {
        replaced.insert(name.clone(), value.clone());
    }
    if let Some(current) = current {
        let number = current.parse::<i64>().map(AMQPValue::LongLongInt);
        replaced.insert(argument.into(), number.unwrap_or_else(|_| AMQPValue::LongString(current.into())));
    }
    replaced
}

/// The error for a refused declaration, with a remedy; `None` if `error` is of another kind.
fn mismatch(error: &Error, kind: &str, name: &str) -> Option<Error> {
    let Difference { argument, current } = Difference::parse(error)?;
    let current = current.map_or_else(|| "not set".to_owned(), |value| format!("{value:?}"));
    Some(Error::Mismatch(format!(
        "{kind} {name} exists with another {argument:?} ({current}); `banklink topology show` prints what is expected: \
         drain it, delete it and start again, or choose another BANKLINK_NAMESPACE"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Error {
        Error::Precondition(text.to_owned())
    }

    #[test]
    fn a_differing_numeric_argument_is_read_from_the_refusal() {
        let error = refusal(
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value \
             '20' of type 'long' but current is the value '7' of type 'long'",
        );
        let difference = Difference::parse(&error).unwrap();
        assert!(difference.is_numeric());
        assert_eq!(difference.current.as_deref(), Some("7"));
    }

    #[test]
    fn an_argument_that_the_queue_lacks_is_left_out_of_the_next_attempt() {
        let error =
            refusal("inequivalent arg 'x-max-age' for queue 'q' in vhost '/': received '7D' but current is none");
        assert_eq!(Difference::parse(&error).unwrap().current, None);
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-age".into(), AMQPValue::LongString("7D".into()));
        assert!(!replace_argument(&arguments, "x-max-age", None).contains_key("x-max-age"));
    }

    #[test]
    fn a_difference_that_is_not_numeric_names_a_remedy() {
        let error = refusal(
            "inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received 'a' but current is the value \
             'drop-head' of type 'longstr'",
        );
        let text = mismatch(&error, "queue", "q").unwrap().to_string();
        assert!(text.contains("x-overflow") && text.contains("drop-head") && text.contains("delete it"));
    }
}

//! Carries the map out on a broker, and says what to do where something else is already there.
//!
//! RabbitMQ refuses a declaration that differs from what exists with 406 and names one argument. A number is an operator's
//! to choose, so what exists is used with a warning; a difference in kind would lose messages, so it stops the start.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tracing::warn;

use super::topology::Step;
use super::{Error, Topology, with_deadline};

/// The arguments that are numbers, or lengths of time, and change nothing about what is kept.
const NUMBERS: [&str; 8] = [
    "x-delivery-limit",
    "x-message-ttl",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-max-length",
    "x-max-length-bytes",
    "x-quorum-initial-group-size",
    "x-expires",
];

/// Declares all of `topology`; what is already there as it should be is left alone.
///
/// # Errors
/// [`Error::Mismatch`] when something exists that differs in more than a number; any other error is the connection's.
pub(super) async fn declare(connection: &Connection, topology: &Topology) -> Result<(), Error> {
    let mut channel = with_deadline(connection.create_channel()).await?;
    for step in topology.steps() {
        match step {
            Step::Exchange { name, kind, arguments } => {
                let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
                let declared = channel.exchange_declare(name.as_str().into(), kind, options, arguments);
                with_deadline(declared).await.map_err(|error| explain(&error, "exchange", &name).unwrap_or(error))?;
            }
            Step::Queue { name, arguments } => channel = declare_queue(connection, channel, &name, arguments).await?,
            Step::Binding { exchange, queue, key } => {
                let (queue, exchange, key) = (queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
                let bound =
                    channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default());
                with_deadline(bound).await?;
            }
        }
    }
    with_deadline(channel.close(200, "declared".into())).await
}

/// Declares a queue, taking over the numbers of one that exists, and gives back a channel that is still open.
async fn declare_queue(
    connection: &Connection,
    mut channel: Channel,
    name: &str,
    mut arguments: FieldTable,
) -> Result<Channel, Error> {
    // One round for each number that differs, and one that succeeds.
    for _ in 0..=NUMBERS.len() {
        let declared = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments.clone());
        let Err(error) = with_deadline(declared).await else { return Ok(channel) };
        let Some(difference) = difference(&error).filter(Difference::is_a_number) else {
            return Err(explain(&error, "queue", name).unwrap_or(error));
        };
        let Difference { argument, current } = difference;
        warn!(queue = name, argument, current, "the queue exists with another number, which is used as it is");
        arguments = with(&arguments, &argument, current.as_deref());
        channel = with_deadline(connection.create_channel()).await?;
    }
    Err(Error::Mismatch(format!("queue {name} differs in more arguments than there are numbers")))
}

/// How something that exists differs from its declaration, in RabbitMQ's words.
struct Difference {
    argument: String,
    current: Option<String>,
}

impl Difference {
    fn is_a_number(&self) -> bool {
        NUMBERS.contains(&self.argument.as_str())
    }
}

/// Reads `inequivalent arg 'NAME' for … but current is the value 'VALUE' of type …`, or `… current is none`.
fn difference(error: &Error) -> Option<Difference> {
    let Error::Precondition(text) = error else { return None };
    let argument = quoted(text.split_once("inequivalent arg ")?.1)?;
    let current = text.split_once("but current is ").and_then(|(_, current)| quoted(current));
    Some(Difference { argument, current })
}

/// The text between the first pair of quotes.
fn quoted(text: &str) -> Option<String> {
    text.split('\'').nth(1).map(str::to_owned)
}

/// The arguments with one of them as it is on the broker; without it where the broker has none.
fn with(arguments: &FieldTable, argument: &str, current: Option<&str>) -> FieldTable {
    let others = arguments.inner().iter().filter(|(name, _)| name.as_str() != argument);
    let mut with = others.fold(FieldTable::default(), |mut table, (name, value)| {
        table.insert(name.clone(), value.clone());
        table
    });
    if let Some(current) = current {
        let number = current.parse::<i64>().map(AMQPValue::LongLongInt);
        with.insert(argument.into(), number.unwrap_or_else(|_| AMQPValue::LongString(current.into())));
    }
    with
}

/// What an operator can do about a declaration that RabbitMQ refused, or `None` if that is not what happened.
fn explain(error: &Error, kind: &str, name: &str) -> Option<Error> {
    let Difference { argument, current } = difference(error)?;
    let current = current.map_or_else(|| "not set".to_owned(), |value| format!("{value:?}"));
    Some(Error::Mismatch(format!(
        "{kind} {name} exists with another {argument:?} ({current}); `banklink topology show` prints what is expected: let \
         it run empty, delete it and start again, or choose another BANKLINK_NAMESPACE"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Error {
        Error::Precondition(text.to_owned())
    }

    #[test]
    fn a_number_that_differs_is_read_from_the_refusal() {
        let error = refused(
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value '20' of \
             type 'long' but current is the value '7' of type 'long'",
        );
        let difference = difference(&error).unwrap();
        assert!(difference.is_a_number());
        assert_eq!(difference.current.as_deref(), Some("7"));
    }

    #[test]
    fn an_argument_that_the_queue_lacks_is_left_out_of_the_next_try() {
        let error =
            refused("inequivalent arg 'x-max-age' for queue 'q' in vhost '/': received '7D' but current is none");
        assert_eq!(difference(&error).unwrap().current, None);
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-age".into(), AMQPValue::LongString("7D".into()));
        assert!(!with(&arguments, "x-max-age", None).contains_key("x-max-age"));
    }

    #[test]
    fn a_difference_in_kind_is_explained_with_a_remedy() {
        let error = refused(
            "inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received 'a' but current is the value 'drop-head' of type 'longstr'",
        );
        let explained = explain(&error, "queue", "q").unwrap().to_string();
        assert!(explained.contains("x-overflow") && explained.contains("drop-head") && explained.contains("delete it"));
    }
}

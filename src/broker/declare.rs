//! Declares the topology on RabbitMQ, and handles exchanges and queues that exist with other arguments.
//!
//! RabbitMQ refuses a declaration that differs from what exists with 406 and names one differing argument. An operator
//! may choose the numeric ones, so an existing value is kept, with a warning. Any other difference could lose messages,
//! so it stops the start.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};
use tracing::warn;

use super::error::{Error, within};
use super::headers::text;
use super::topology::{Declaration, Topology};

/// The queue arguments that are numbers or durations. A difference in one of them is accepted (docs/CONTRACT.md#5-on-the-broker).
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

/// Declares `topology` or, if another process does that, checks that it exists.
pub(super) async fn ensure(connection: &Connection, topology: &Topology, deadline: Duration) -> Result<(), Error> {
    if topology.is_declared_here {
        declare(connection, topology, deadline).await
    } else {
        check_exists(connection, topology, deadline).await
    }
}

/// Declares all of `topology`, with `deadline` for each request. What exists as declared stays as it is; what differs in
/// more than a numeric argument is an [`Error::Mismatch`].
pub(super) async fn declare(connection: &Connection, topology: &Topology, deadline: Duration) -> Result<(), Error> {
    let mut channel = within(deadline, connection.create_channel()).await?;
    for declaration in topology.declarations() {
        match declaration {
            Declaration::Exchange { name, kind, arguments } => {
                let kind = ExchangeKind::Custom(kind.to_owned());
                let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
                let declared = channel.exchange_declare(name.as_str().into(), kind, options, arguments);
                within(deadline, declared).await.map_err(|error| mismatch(error, "exchange", &name))?;
            }
            Declaration::Queue { name, arguments } => {
                channel = declare_queue(connection, channel, &name, arguments, deadline).await?;
            }
            Declaration::Binding { exchange, queue, key } => {
                let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
                let bound = channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments);
                within(deadline, bound).await?;
            }
        }
    }
    within(deadline, channel.close(200, "declared".into())).await
}

/// Checks that `topology` exists and differs in numeric arguments at most, for `banklink check`: declares it without
/// creating an exchange or queue. The first one that is missing or differs is an error. If another process declares the topology,
/// arguments are not compared: that takes the right to configure.
pub(super) async fn compare(connection: &Connection, topology: &Topology, deadline: Duration) -> Result<(), Error> {
    check_exists(connection, topology, deadline).await?;
    // Every exchange and queue exists, so declaring them compares their arguments and creates none.
    if topology.is_declared_here { declare(connection, topology, deadline).await } else { Ok(()) }
}

/// Checks by passive declarations, which take no right, that each exchange and queue exists. Bindings cannot be checked.
async fn check_exists(connection: &Connection, topology: &Topology, deadline: Duration) -> Result<(), Error> {
    let mut channel = within(deadline, connection.create_channel()).await?;
    for declaration in topology.declarations() {
        let (what, name, found) = match declaration {
            Declaration::Exchange { name, kind, .. } => {
                let kind = ExchangeKind::Custom(kind.to_owned());
                let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
                let found = channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default());
                ("exchange", name, within(deadline, found).await)
            }
            Declaration::Queue { name, .. } => {
                let options = QueueDeclareOptions { passive: true, ..Default::default() };
                let found = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
                ("queue", name, within(deadline, found).await.map(drop))
            }
            Declaration::Binding { .. } => continue,
        };
        if let Err(error) = found {
            // RabbitMQ has closed the channel; another one tells whether the connection is at fault.
            channel = within(deadline, connection.create_channel()).await?;
            let _ = within(deadline, channel.close(200, "checked".into())).await;
            return Err(match error {
                Error::Amqp(cause) => Error::Missing(format!(
                    "{what} {name} is missing or differs ({cause}): run `banklink topology apply`, or any role"
                )),
                other => other,
            });
        }
    }
    within(deadline, channel.close(200, "checked".into())).await
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
            return Err(mismatch(error, "queue", name));
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
        let quoted_after = |words| text.split_once(words)?.1.split('\'').nth(1).map(str::to_owned);
        Some(Self { argument: quoted_after("inequivalent arg ")?, current: quoted_after("but current is ") })
    }

    fn is_numeric(&self) -> bool {
        NUMERIC_ARGUMENTS.contains(&self.argument.as_str())
    }
}

/// The arguments with `argument` set to its existing value, or without it if it is not set.
fn replace_argument(arguments: &FieldTable, argument: &str, current: Option<&str>) -> FieldTable {
    let mut replaced = arguments.inner().clone();
    replaced.remove(argument);
    if let Some(current) = current {
        replaced.insert(argument.into(), current.parse().map_or_else(|_| text(current), AMQPValue::LongLongInt));
    }
    replaced.into()
}

/// The error of a declaration, with a remedy if RabbitMQ refused it because of a difference.
fn mismatch(error: Error, kind: &str, name: &str) -> Error {
    let Some(Difference { argument, current }) = Difference::parse(&error) else { return error };
    let current = current.map_or_else(|| "not set".to_owned(), |value| format!("{value:?}"));
    Error::Mismatch(format!(
        "{kind} {name} exists with another {argument:?} ({current}); `banklink topology show` prints what is expected: \
         drain it, delete it and start again, or choose another BANKLINK_NAMESPACE"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::headers::table;

    fn refusal(difference: &str) -> Error {
        Error::Precondition(format!("PRECONDITION_FAILED - inequivalent arg {difference}"))
    }

    #[test]
    fn a_differing_numeric_argument_is_read_from_the_refusal() {
        let difference = Difference::parse(&refusal(
            "'x-delivery-limit' for queue 'q' in vhost '/': received the value '20' of type 'long' but current is the \
             value '7' of type 'long'",
        ));
        let difference = difference.unwrap();
        assert!(difference.is_numeric() && difference.current.as_deref() == Some("7"));
    }

    #[test]
    fn an_argument_that_the_queue_lacks_is_left_out_of_the_next_attempt() {
        let error = refusal("'x-max-age' for queue 'q' in vhost '/': received '7D' but current is none");
        assert_eq!(Difference::parse(&error).unwrap().current, None);
        assert!(!replace_argument(&table([("x-max-age", text("7D"))]), "x-max-age", None).contains_key("x-max-age"));
    }

    #[test]
    fn a_difference_that_is_not_numeric_names_a_remedy() {
        let error = refusal(
            "'x-overflow' for queue 'q' in vhost '/': received 'a' but current is the value 'drop-head' of type \
             'longstr'",
        );
        let text = mismatch(error, "queue", "q").to_string();
        assert!(text.contains("x-overflow") && text.contains("drop-head") && text.contains("delete it"));
    }
}

//! The deliveries of several consumers on one channel, each with its end.

use std::pin::Pin;

use futures_util::stream::{SelectAll, once};
use futures_util::{Stream, StreamExt};

/// What arrives from one consumer: a delivery, an error, or `None` at its end. `SelectAll` drops a stream that has ended without
/// a word; but when RabbitMQ 4.3 and later cancel one of several consumers, for example at the consumer timeout, the channel stays
/// open, and the other one goes on with its own prefetch only.
pub(super) type Received = Option<lapin::Result<lapin::message::Delivery>>;

/// What arrives from any of several consumers.
pub(super) type Streams = SelectAll<Pin<Box<dyn Stream<Item = Received> + Send + Sync>>>;

/// The items of `stream`, and `None` at its end.
pub(super) fn until_end<S: Stream>(stream: S) -> impl Stream<Item = Option<S::Item>> {
    stream.map(Some).chain(once(std::future::ready(None)))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::stream::{iter, pending};

    use super::*;

    #[test]
    fn the_end_of_one_of_two_streams_is_reported_although_the_other_goes_on() {
        let mut streams = SelectAll::new();
        streams.push(until_end(iter([1, 2])).boxed());
        streams.push(until_end(pending()).boxed());
        let received: Vec<_> = std::iter::from_fn(|| streams.next().now_or_never()).collect();
        assert_eq!(received, [Some(Some(1)), Some(Some(2)), Some(None)]);
    }
}

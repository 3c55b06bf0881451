//! Spans about RabbitMQ, as OpenTelemetry's conventions for messaging say (docs/TRACES.md).
//!
//! A message's `traceparent` names the span that published it. The span that processes it is a child of that one, so that a webhook's
//! whole way is one trace, and is linked to it, because a batch has many such messages and only one parent.

use lapin::types::FieldTable;

use super::delivery::Delivery;
use super::error::Error;
use super::headers::{Headers, text};
use super::message::Outgoing;
use crate::telemetry::{Span, SpanKind};

/// Where RabbitMQ is, as it is reached from here.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What every span about RabbitMQ says. `kind` is the operation's type in the conventions, `name` what we call it.
fn describe(span: &mut Span, (name, kind): (&'static str, &'static str), destination: String, server: &Server) {
    span.set("messaging.system", "rabbitmq");
    span.set("messaging.operation.name", name);
    span.set("messaging.operation.type", kind);
    span.set("messaging.destination.name", destination);
    span.set("server.address", server.host.clone());
    span.set("server.port", i64::from(server.port));
}

/// The span in which `outgoing` is published, whose `traceparent` becomes that of the span.
pub(super) fn publish_span(outgoing: &mut Outgoing, server: &Server) -> Span {
    if !Span::are_made() {
        return Span::none();
    }
    let parent = Headers::of(&outgoing.properties).text("traceparent");
    let mut span = Span::start(SpanKind::Producer, parent.as_deref(), || format!("publish {}", destination(outgoing)));
    if span.is_recording() {
        describe(&mut span, ("publish", "send"), destination(outgoing), server);
        span.set("messaging.message.id", outgoing.id.clone());
        span.set("messaging.message.body.size", size(&outgoing.body));
        if !outgoing.routing_key.is_empty() {
            span.set("messaging.rabbitmq.destination.routing_key", outgoing.routing_key.clone());
        }
    }
    if let Some(traceparent) = span.continued(parent.as_deref()).filter(|own| parent.as_ref() != Some(own)) {
        let mut headers: FieldTable = outgoing.properties.headers().clone().unwrap_or_default();
        headers.insert("traceparent".into(), text(traceparent));
        let properties = std::mem::take(outgoing.properties.as_mut());
        *outgoing.properties = properties.with_headers(headers);
    }
    span
}

/// The destination as the conventions want it from a producer.
fn destination(outgoing: &Outgoing) -> String {
    match (outgoing.exchange.as_str(), outgoing.routing_key.as_str()) {
        ("", "") => "amq.default".to_owned(),
        (exchange, "") => exchange.to_owned(),
        ("", routing_key) => routing_key.to_owned(),
        (exchange, routing_key) => format!("{exchange}:{routing_key}"),
    }
}

/// The queue that a span of a consumer is about, and where RabbitMQ is.
///
/// The destination is the queue alone. The conventions would have the exchange and the routing key before it, but those of a batch
/// differ: retried messages have other ones. So all spans of a queue have one name.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) queue: &'a str,
    pub(super) server: &'a Server,
}

impl Source<'_> {
    /// The span in which one message is processed, in the message's own trace.
    pub(super) fn process_span(self, delivery: &Delivery) -> Span {
        let (message, published) = (&delivery.message, delivery.message.traceparent.as_deref());
        let mut span = Span::start(SpanKind::Consumer, published, || format!("process {}", self.queue));
        if span.is_recording() {
            self.describe(&mut span, ("process", "process"));
            span.link(published);
            span.set("messaging.message.id", message.id.clone());
            span.set("messaging.message.body.size", size(&message.body));
            span.set("messaging.rabbitmq.message.delivery_tag", i64::try_from(delivery.tag).unwrap_or(i64::MAX));
            if !delivery.routing_key.is_empty() {
                span.set("messaging.rabbitmq.destination.routing_key", delivery.routing_key.clone());
            }
            span.set("banklink.attempt", i64::from(message.attempt));
        }
        span
    }

    /// The span in which a batch of several messages is processed, in the trace of `parent` and linked to what published each.
    pub(super) fn batch_span(self, batch: &[Delivery], parent: Option<&str>) -> Span {
        let mut span = Span::child(SpanKind::Consumer, parent, || format!("process {}", self.queue));
        if span.is_recording() {
            self.describe(&mut span, ("process", "process"));
            describe_batch(&mut span, batch.len());
            batch.iter().for_each(|delivery| span.link(delivery.message.traceparent.as_deref()));
        }
        span
    }

    /// The span in which `messages` are acknowledged, in the trace of `parent`.
    pub(super) fn settle_span(self, messages: usize, parent: Option<&str>) -> Span {
        let parent = parent.filter(|_| messages > 0);
        let mut span = Span::child(SpanKind::Client, parent, || format!("settle {}", self.queue));
        if span.is_recording() {
            self.describe(&mut span, ("settle", "settle"));
            describe_batch(&mut span, messages);
        }
        span
    }

    fn describe(self, span: &mut Span, operation: (&'static str, &'static str)) {
        describe(span, operation, self.queue.to_owned(), self.server);
    }
}

/// Sets the number of messages that a span accounts for. The conventions want it only for a batch of several.
fn describe_batch(span: &mut Span, messages: usize) {
    if messages > 1 {
        span.set("messaging.batch.message_count", i64::try_from(messages).unwrap_or(i64::MAX));
    }
}

fn size(body: &[u8]) -> i64 {
    i64::try_from(body.len()).unwrap_or(i64::MAX)
}

/// The `error.type` of a failed span.
pub(super) fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Disconnected => "disconnected",
        Error::NoChannel => "no_channel",
        Error::Blocked => "blocked",
        Error::TimedOut => "timed_out",
        Error::Nacked => "nacked",
        Error::Returned => "returned",
        Error::Mismatch(_) => "mismatch",
        Error::Missing(_) => "missing",
        Error::Precondition(_) => "precondition_failed",
        Error::ConsumerEnded(_) => "consumer_ended",
        Error::Amqp(_) => "amqp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::publish_request::tests::request;

    #[test]
    fn a_destination_is_the_exchange_and_the_routing_key_as_far_as_there_are_any() {
        let named = |exchange: &str, routing_key: &str| {
            let outgoing = request("a").0.outgoing;
            destination(&Outgoing { exchange: exchange.to_owned(), routing_key: routing_key.to_owned(), ..outgoing })
        };
        assert_eq!(named("ns.webhooks", "lean"), "ns.webhooks:lean");
        assert_eq!([named("", "queue"), named("ns.x", ""), named("", "")], ["queue", "ns.x", "amq.default"]);
    }
}

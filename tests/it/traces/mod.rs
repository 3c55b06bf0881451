//! Traces: OpenTelemetry's variables, and the spans that arrive at a receiver of OTLP.

mod collector;
mod failures;
mod journey;
mod settings;

use lapin::message::Delivery;
use testkit::otlp::{ReceivedSpan, Receiver};
use testkit::process::Invocation;
use testkit::{SECRET, fixtures};

/// The trace that webhooks are posted in, and the sender's span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

/// Exports traces to `endpoint`, every 50 ms.
fn traced(invocation: Invocation, endpoint: &str) -> Invocation {
    invocation.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

/// Posts `body` in a sender's trace, signed with `secret`; returns the status and the answer.
async fn post_in_trace(url: &str, secret: &str, body: &str, traceparent: &str) -> (u16, String) {
    let signature = fixtures::signature(secret, body.as_bytes());
    let request = testkit::http::client().post(url).header("lean-signature", signature);
    let answer = request.header("traceparent", traceparent).body(body.to_owned()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Posts `body` in [`TRACE`], as a sampled or another span of the sender; returns the message's id.
async fn post(url: &str, body: &str, flags: &str) -> String {
    let (status, answer) = post_in_trace(url, SECRET, body, &format!("00-{TRACE}-{SENDER}-{flags}")).await;
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["message_id"].as_str().unwrap().to_owned()
}

/// The `traceparent` of a message.
fn traceparent(message: &Delivery) -> String {
    let headers = message.properties.headers().clone().unwrap_or_default();
    let header = headers.inner().get("traceparent").and_then(|value| value.as_long_string()).map(ToString::to_string);
    header.unwrap_or_default()
}

/// Waits for a span with this name and these values of one attribute.
async fn until_span(
    receiver: &Receiver,
    name: &str,
    attribute: &str,
    value: impl Into<serde_json::Value>,
) -> ReceivedSpan {
    let value = value.into();
    let is_it = |span: &ReceivedSpan| span.name == name && *span.attribute(attribute) == value;
    receiver.until_span(&format!("{name} with {attribute} = {value}"), is_it).await
}

//! The AsyncAPI 3.0 document of a namespace: where events are published, and how they look on the wire. Pure.

use serde_json::{Map, Value, json};

use super::topology::{event_log, events};
use crate::domain::event::{CONTENT_TYPE, Change};
use crate::domain::event_schema;

/// The version of the AMQP bindings (<https://github.com/asyncapi/bindings/tree/master/amqp>).
const BINDING_VERSION: &str = "0.3.0";

/// The document for the exchange and the stream of `namespace`.
#[must_use]
pub fn document(namespace: &str) -> Value {
    let mut schemas = event_schema::definitions(&|name| format!("#/components/schemas/{name}"));
    schemas.insert("EventHeaders".to_owned(), headers());
    let mut channels: Map<String, Value> =
        Change::ALL.map(|change| (change.event_type().to_owned(), channel(namespace, change))).into_iter().collect();
    channels.insert("log".to_owned(), log(namespace));
    let names = channels.keys().map(|name| (format!("send.{name}"), operation(name)));
    let operations: Map<String, Value> = names.collect();
    let messages: Map<String, Value> =
        Change::ALL.map(|change| (change.event_type().to_owned(), message(change))).into_iter().collect();
    json!({
        "asyncapi": "3.0.0",
        "id": event_schema::ID,
        "info": {
            "title": "banklink events",
            "version": "1.0.0",
            "description": "Which banks customers link, as events on RabbitMQ. A subscriber declares a durable queue of its \
                own, binds it to the topic exchange, and remembers the ids of events. Within this major version, channels and \
                members are only added.",
            "license": { "name": "MIT OR Apache-2.0" },
            "tags": [{ "name": "bank links", "description": "The links of customers to banks." }],
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "rabbitmq": {
                "host": "{host}:{port}",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "The RabbitMQ, 3.10 or later, that `AMQP_URL` names; `amqps` for TLS.",
                "variables": {
                    "host": { "default": "localhost", "description": "The name or address of a node." },
                    "port": { "default": "5672", "description": "5671 with TLS." },
                },
                "security": [{ "$ref": "#/components/securitySchemes/user" }],
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "user": { "type": "userPassword", "description": "A user who may configure, write and read the queues of its service." },
            },
        },
    })
}

/// The exchange, as the way of one event type. A subscriber binds its queue with the channel's address as the key.
fn channel(namespace: &str, change: Change) -> Value {
    let event_type = change.event_type();
    json!({
        "address": event_type,
        "title": event_type,
        "description": change.description(),
        "servers": [{ "$ref": "#/servers/rabbitmq" }],
        "messages": { event_type: { "$ref": format!("#/components/messages/{event_type}") } },
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": { "name": events(namespace), "type": "topic", "durable": true, "autoDelete": false, "vhost": "/" },
            "bindingVersion": BINDING_VERSION,
        } },
    })
}

/// The stream that keeps every event, for catching up.
fn log(namespace: &str) -> Value {
    let messages: Map<String, Value> = Change::ALL
        .map(Change::event_type)
        .map(|event_type| (event_type.to_owned(), json!({ "$ref": format!("#/components/messages/{event_type}") })))
        .into_iter()
        .collect();
    json!({
        "address": event_log(namespace),
        "title": "The log of events",
        "description": "A stream with every event of the last 7 days at least. Consume it with the argument `x-stream-offset` \
            (`first`, an offset or a time), a prefetch and manual acks; each message carries its offset in the header \
            `x-stream-offset`.",
        "servers": [{ "$ref": "#/servers/rabbitmq" }],
        "messages": messages,
        "bindings": { "amqp": {
            "is": "queue",
            "queue": {
                "name": event_log(namespace), "durable": true, "exclusive": false, "autoDelete": false, "vhost": "/",
            },
            "bindingVersion": BINDING_VERSION,
        } },
    })
}

fn operation(channel: &str) -> Value {
    let title = if channel == "log" { "Every event is kept" } else { "A change is announced" };
    json!({
        "action": "send",
        "channel": { "$ref": format!("#/channels/{channel}") },
        "title": title,
        "summary": title,
        "description": "At least once: an event that arrives again has the same id.",
        "bindings": { "amqp": {
            "deliveryMode": 2, "mandatory": true, "timestamp": true, "bindingVersion": BINDING_VERSION,
        } },
    })
}

fn message(change: Change) -> Value {
    let event_type = change.event_type();
    let example = event_schema::example(change);
    json!({
        "name": event_type,
        "title": event_type,
        "summary": change.description(),
        "description": "AMQP properties: `message_id` is the event's id, `type` its type, `timestamp` when it was published, \
            `app_id` is `banklink`, `delivery_mode` 2.",
        "contentType": CONTENT_TYPE,
        "headers": { "$ref": "#/components/schemas/EventHeaders" },
        "payload": { "$ref": format!("#/components/schemas/{event_type}") },
        "bindings": { "amqp": { "messageType": event_type, "bindingVersion": BINDING_VERSION } },
        "examples": [{ "name": event_type, "summary": "From Lean's own example of a webhook.", "payload": example }],
    })
}

fn headers() -> Value {
    json!({
        "type": "object",
        "description": "The headers of an event's message. Others may be added.",
        "properties": {
            "traceparent": {
                "type": "string",
                "description": "The trace of the webhook that caused the event (W3C Trace Context), if it is traced.",
            },
            "x-rehearsal": {
                "type": "string",
                "description": "Only on made-up events, which `banklink events rehearse` sends to one queue: the rehearsal's id.",
            },
        },
    })
}

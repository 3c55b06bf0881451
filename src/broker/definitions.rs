//! Prints the topology as a RabbitMQ definitions file, which `rabbitmqctl import_definitions` reads.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

use super::topology::{Declaration, Topology};

impl Topology {
    /// The topology as RabbitMQ definitions for the virtual host `vhost`.
    #[must_use]
    pub fn definitions(&self, vhost: &str) -> Value {
        let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        for declaration in self.declarations() {
            match declaration {
                Declaration::Exchange { name, kind, arguments } => exchanges.push(json!({
                    "name": name, "vhost": vhost, "type": kind_name(&kind), "durable": true, "auto_delete": false,
                    "internal": false, "arguments": arguments_json(&arguments),
                })),
                Declaration::Queue { name, arguments } => queues.push(json!({
                    "name": name, "vhost": vhost, "durable": true, "auto_delete": false,
                    "arguments": arguments_json(&arguments),
                })),
                Declaration::Binding { exchange, queue, key } => bindings.push(json!({
                    "source": exchange, "vhost": vhost, "destination": queue, "destination_type": "queue",
                    "routing_key": key, "arguments": {},
                })),
            }
        }
        json!({ "exchanges": exchanges, "queues": queues, "bindings": bindings })
    }
}

/// RabbitMQ's name of an exchange type.
fn kind_name(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Custom(name) => name,
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
    }
}

fn arguments_json(arguments: &FieldTable) -> Value {
    let members = arguments.inner().iter().map(|(name, value)| {
        let value = match value {
            AMQPValue::LongLongInt(number) => json!(number),
            AMQPValue::LongString(text) => json!(text.to_string()),
            other => json!(format!("{other:?}")),
        };
        (name.to_string(), value)
    });
    Value::Object(members.collect::<Map<_, _>>())
}

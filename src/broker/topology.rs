//! The topology: every exchange, queue and binding of one namespace, in the order they are declared.
//!
//! Pure: `declare` sends the declarations to RabbitMQ. docs/CONTRACT.md#5-on-the-broker

use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use uuid::Uuid;

use super::headers::{table, text};
use crate::domain::retry::Schedule;

/// The routing key of webhooks, fresh, replayed or dead (docs/CONTRACT.md#5-on-the-broker).
pub(super) const WEBHOOK_KEY: &str = "lean";
/// A delivery limit that is never reached. Without one RabbitMQ 4 applies 20 and then drops the message; -1 makes
/// RabbitMQ 3.10 drop it at once.
const NO_DELIVERY_LIMIT: i64 = 2_147_483_647;

/// The exchanges, queues and bindings of one namespace.
#[derive(Clone, Debug)]
pub struct Topology {
    namespace: String,
    schedule: Schedule,
    delivery_limit: u32,
    /// Whether connections declare the topology; else they only check that it exists.
    pub(super) is_declared_here: bool,
}

/// One declaration. Exchanges and queues are durable and never auto-deleted.
pub(super) enum Declaration {
    Exchange { name: String, kind: &'static str, arguments: FieldTable },
    Queue { name: String, arguments: FieldTable },
    Binding { exchange: String, queue: String, key: String },
}

impl Topology {
    /// The topology of `namespace`, with a retry tier for each delay of `schedule`. RabbitMQ dead-letters a webhook
    /// that it has redelivered more than `delivery_limit` times, which ends crash loops.
    #[must_use]
    pub fn new(namespace: &str, schedule: Schedule, delivery_limit: u32) -> Self {
        Self { namespace: namespace.to_owned(), schedule, delivery_limit, is_declared_here: true }
    }

    /// The same topology, which another process declares: this one needs no right to configure anything.
    #[must_use]
    pub fn declared_elsewhere(self) -> Self {
        Self { is_declared_here: false, ..self }
    }

    /// The name of the webhook exchange and of the work queue.
    #[must_use]
    pub fn webhooks(&self) -> String {
        format!("{}.webhooks", self.namespace)
    }

    /// The name of the exchange for retry copies.
    #[must_use]
    pub fn retry(&self) -> String {
        format!("{}.webhooks.retry", self.namespace)
    }

    /// The name of the dead-letter exchange and of the dead queue.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}.webhooks.dead", self.namespace)
    }

    /// The name of the event exchange, which subscribers bind their queues to.
    #[must_use]
    pub fn events(&self) -> String {
        events(&self.namespace)
    }

    /// The stream that keeps events.
    #[must_use]
    pub fn event_log(&self) -> String {
        event_log(&self.namespace)
    }

    /// The name of a queue that is there for a probe only.
    pub(super) fn probe_queue(&self, id: Uuid) -> String {
        format!("{}.check.{id}", self.namespace)
    }

    /// The retry schedule.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Every declaration, in an order in which a crash in between loses no message: a dead-letter target comes before
    /// the queue that uses it, and the work queue before the exchange that feeds it. If the work queue is missing
    /// nevertheless, the alternate exchange routes webhooks to the dead queue.
    pub(super) fn declarations(&self) -> Vec<Declaration> {
        let (dead, work, retry, events) = (self.dead(), self.webhooks(), self.retry(), self.events());
        let log = self.event_log();
        let work_arguments = dead_lettering(&dead, "x-delivery-limit", self.delivery_limit);
        // A stream that keeps at least a week, so that a new subscriber can start in the past. Its segments are small
        // because RabbitMQ deletes only whole ones.
        let log_arguments = [
            ("x-queue-type", text("stream")),
            ("x-max-age", text("7D")),
            ("x-stream-max-segment-size-bytes", 20_000_000_i64.into()),
        ];
        let dead_arguments = [("x-queue-type", text("quorum")), ("x-delivery-limit", NO_DELIVERY_LIMIT.into())];

        let mut declarations = vec![
            exchange(&dead, "fanout", table([])),
            queue(&dead, table(dead_arguments)),
            binding(&dead, &dead, ""),
            queue(&work, work_arguments),
            exchange(&work, "topic", table([("alternate-exchange", text(&dead))])),
            binding(&work, &work, "#"),
            exchange(&retry, "direct", table([])),
        ];
        for delay in self.schedule.tiers() {
            let tier = format!("{retry}.{delay}");
            declarations.push(queue(&tier, dead_lettering(&work, "x-message-ttl", delay.millis())));
            declarations.push(binding(&retry, &tier, &delay.to_string()));
        }
        declarations.extend([
            exchange(&events, "topic", table([])),
            queue(&log, table(log_arguments)),
            binding(&events, &log, "#"),
        ]);
        declarations
    }

    /// The topology as RabbitMQ definitions for the virtual host `vhost`, which `rabbitmqctl import_definitions` reads.
    #[must_use]
    pub fn definitions(&self, vhost: &str) -> Value {
        let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        for declaration in self.declarations() {
            match declaration {
                Declaration::Exchange { name, kind, arguments } => exchanges.push(json!({
                    "name": name, "vhost": vhost, "type": kind, "durable": true, "auto_delete": false,
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

/// The name of a namespace's event exchange.
pub(super) fn events(namespace: &str) -> String {
    format!("{namespace}.events")
}

/// The name of a namespace's stream of events.
pub(super) fn event_log(namespace: &str) -> String {
    format!("{namespace}.events.log")
}

/// Whether `queue` belongs to the namespace's topology: the work queue, the dead queue, a retry tier, or a stream of events, of
/// this namespace or of another.
#[must_use]
pub fn is_own_queue(namespace: &str, queue: &str) -> bool {
    queue.strip_prefix(namespace).is_some_and(|rest| rest == ".webhooks" || rest.starts_with(".webhooks."))
        || queue.ends_with(".events.log")
}

fn exchange(name: &str, kind: &'static str, arguments: FieldTable) -> Declaration {
    Declaration::Exchange { name: name.to_owned(), kind, arguments }
}

fn queue(name: &str, arguments: FieldTable) -> Declaration {
    Declaration::Queue { name: name.to_owned(), arguments }
}

fn binding(exchange: &str, queue: &str, key: &str) -> Declaration {
    Declaration::Binding { exchange: exchange.to_owned(), queue: queue.to_owned(), key: key.to_owned() }
}

/// The arguments of a quorum queue that dead-letters to `target` without losing a message: it keeps a message until the
/// target has confirmed it, and rejects publishes when full. `argument` is the one that makes the queue dead-letter.
fn dead_lettering(target: &str, argument: &str, value: u32) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(target)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        (argument, i64::from(value).into()),
    ])
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
    Value::Object(members.collect())
}

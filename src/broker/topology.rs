//! The map of the broker: every exchange, queue and binding, and the order they are declared in.
//!
//! Nothing here speaks to RabbitMQ; `declare` carries the map out.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

use crate::domain::retry::Schedule;

/// The routing key of webhooks from Lean, fresh or replayed.
pub(super) const LEAN: &str = "lean";
/// A limit that is never reached: absent means 20 on RabbitMQ 4, and -1 means drop at once on 3.10.
const NO_DELIVERY_LIMIT: i64 = 2_147_483_647;

/// What is declared under one namespace.
#[derive(Clone, Debug)]
pub struct Topology {
    namespace: String,
    schedule: Schedule,
    delivery_limit: u32,
}

/// One declaration. All of it is durable and never deleted by itself.
pub(super) enum Step {
    Exchange { name: String, kind: ExchangeKind, arguments: FieldTable },
    Queue { name: String, arguments: FieldTable },
    Binding { exchange: String, queue: String, key: String },
}

impl Topology {
    /// The map for that namespace, with a retry tier for each delay of `schedule`; `delivery_limit` is the net under crash
    /// loops.
    #[must_use]
    pub fn new(namespace: &str, schedule: Schedule, delivery_limit: u32) -> Self {
        Self { namespace: namespace.to_owned(), schedule, delivery_limit }
    }

    /// The exchange and the queue of work.
    #[must_use]
    pub fn webhooks(&self) -> String {
        format!("{}.webhooks", self.namespace)
    }

    /// The exchange of retry copies.
    #[must_use]
    pub fn retry(&self) -> String {
        format!("{}.webhooks.retry", self.namespace)
    }

    /// The exchange and the queue of dead messages.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}.webhooks.dead", self.namespace)
    }

    /// The exchange that subscribers bind to.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.namespace)
    }

    /// The retry schedule.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Every declaration, in an order that is safe to crash in: what a queue dead-letters into stands before the queue, and
    /// the work queue before the exchange that people publish to. A message that finds no work queue all the same takes
    /// the alternate exchange to the dead queue.
    pub(super) fn steps(&self) -> Vec<Step> {
        let (dead, work, retry, events) = (self.dead(), self.webhooks(), self.retry(), self.events());
        let log = format!("{events}.log");
        let work_arguments = safely_dead_lettering(&dead, "x-delivery-limit", self.delivery_limit);
        let dead_arguments = [("x-queue-type", text("quorum")), ("x-delivery-limit", NO_DELIVERY_LIMIT.into())];

        let mut steps = vec![
            exchange(&dead, ExchangeKind::Fanout, table([])),
            queue(&dead, table(dead_arguments)),
            binding(&dead, &dead, ""),
            queue(&work, work_arguments),
            exchange(&work, ExchangeKind::Topic, table([("alternate-exchange", text(&dead))])),
            binding(&work, &work, "#"),
            exchange(&retry, ExchangeKind::Direct, table([])),
        ];
        for delay in self.schedule.tiers() {
            let tier = format!("{retry}.{delay}");
            steps.push(queue(&tier, safely_dead_lettering(&work, "x-message-ttl", delay.millis())));
            steps.push(binding(&retry, &tier, &delay.to_string()));
        }
        steps.extend([
            exchange(&events, ExchangeKind::Topic, table([])),
            queue(&log, log_arguments()),
            binding(&events, &log, "#"),
        ]);
        steps
    }

    /// The map as RabbitMQ's own definitions, which its tools import.
    #[must_use]
    pub fn definitions(&self, vhost: &str) -> Value {
        let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        for step in self.steps() {
            match step {
                Step::Exchange { name, kind, arguments } => exchanges.push(json!({
                    "name": name, "vhost": vhost, "type": kind_name(&kind), "durable": true, "auto_delete": false,
                    "internal": false, "arguments": arguments_json(&arguments),
                })),
                Step::Queue { name, arguments } => queues.push(json!({
                    "name": name, "vhost": vhost, "durable": true, "auto_delete": false,
                    "arguments": arguments_json(&arguments),
                })),
                Step::Binding { exchange, queue, key } => bindings.push(json!({
                    "source": exchange, "vhost": vhost, "destination": queue, "destination_type": "queue",
                    "routing_key": key, "arguments": {},
                })),
            }
        }
        json!({ "exchanges": exchanges, "queues": queues, "bindings": bindings })
    }
}

/// The name RabbitMQ knows an exchange's type by.
fn kind_name(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Custom(name) => name,
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
    }
}

fn exchange(name: &str, kind: ExchangeKind, arguments: FieldTable) -> Step {
    Step::Exchange { name: name.to_owned(), kind, arguments }
}

fn queue(name: &str, arguments: FieldTable) -> Step {
    Step::Queue { name: name.to_owned(), arguments }
}

fn binding(exchange: &str, queue: &str, key: &str) -> Step {
    Step::Binding { exchange: exchange.to_owned(), queue: queue.to_owned(), key: key.to_owned() }
}

/// What it takes for a quorum queue to dead-letter without losing anything: it keeps a message until the target has
/// confirmed it, and rather refuses new ones than drop old ones. Beside it, the one number that the queue is about.
fn safely_dead_lettering(target: &str, number: &str, value: u32) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(target)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
        (number, i64::from(value).into()),
    ])
}

/// The stream keeps at least a week, cut in small segments, so that a new subscriber can start from the past.
fn log_arguments() -> FieldTable {
    table([
        ("x-queue-type", text("stream")),
        ("x-max-age", text("7D")),
        ("x-stream-max-segment-size-bytes", 20_000_000_i64.into()),
    ])
}

fn table<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
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

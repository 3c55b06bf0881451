//! RabbitMQ: the only module that uses lapin.
//!
//! Where a file works around lapin, it says what was observed, with lapin 4.12.3, and when the workaround can go.
//! lapin's automatic recovery stays off, and `supervisor` reconnects instead: recovery leaves pending confirms unresolved
//! until the connection is back, does not reopen a channel that RabbitMQ closed, and has an open issue
//! (<https://github.com/amqp-rs/lapin/issues/450>). It can replace `supervisor` once none of that holds any more.

mod ack_tracker;
mod asyncapi;
mod confirm_probe;
mod confirms;
mod connection;
mod connector;
mod consumer;
mod consumer_prefetch;
mod consumer_spans;
mod consumer_status;
mod declare;
mod delivery;
mod error;
mod event_log;
mod event_subscription;
mod headers;
mod message;
mod prefetch;
mod publish_request;
mod publisher;
mod publishing_task;
mod queue_states;
mod rehearsal;
mod server_version;
mod spans;
mod streams;
mod supervisor;
mod topology;

pub use asyncapi::document as asyncapi_document;
pub use connection::Connection;
pub use connector::{Address, Purpose};
pub use consumer::Consumer;
pub use consumer_status::ConsumerStatus;
pub use delivery::{Death, Delivery};
pub use error::{Error, REQUEST_DEADLINE};
pub use event_log::read_event_log;
pub use event_subscription::EventSubscription;
pub use message::{Message, Outgoing};
pub use publisher::Publisher;
pub use queue_states::{QueueState, queue_states};
pub use rehearsal::send_rehearsal;
pub use server_version::{known_defect, server_version};
pub use supervisor::Supervisor;
pub use topology::{Topology, is_own_queue};

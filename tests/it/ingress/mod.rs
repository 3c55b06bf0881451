//! The ingress: every answer, and what reaches the broker.

mod answers;
mod framing;
mod queues;
mod resources;
mod shutdown;

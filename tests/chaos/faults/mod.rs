//! The faults: each a function that inflicts one, heals it, and says whom it met. Where whom it
//! meets is luck, it goes on until it has met somebody, and fails if it never does.

pub(crate) mod disk;
pub(crate) mod network;
pub(crate) mod postgres;
pub(crate) mod processes;
pub(crate) mod rabbitmq;
pub(crate) mod sqlite;

/// This machine lets nobody inflict it; why. Everything else is still worth a verdict.
#[derive(Debug, thiserror::Error)]
#[error("skipped: {0}")]
pub(crate) struct Skipped(pub(crate) String);

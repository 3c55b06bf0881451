//! The faults: each a function that inflicts one, heals it, and says whom it met.

pub(crate) mod disk;
pub(crate) mod network;
pub(crate) mod postgres;
pub(crate) mod processes;
pub(crate) mod rabbitmq;
pub(crate) mod sqlite;

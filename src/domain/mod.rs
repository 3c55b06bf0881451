//! The rules of banklink: what a webhook says, how it changes a bank link, and which events follow.
//!
//! Everything here is pure, without I/O or async; only `Timestamp::now` reads the clock. The worker, a replay's dry run and
//! the tests call the same functions.

pub mod bank_link;
pub mod canaries;
pub mod dead_letter;
pub mod event;
pub mod event_schema;
mod example;
pub mod failure;
pub mod field;
pub mod json;
pub mod link_data;
pub mod listed;
pub mod optional_fields;
pub mod outcome;
pub mod permissions;
pub mod rehearsal;
pub mod replay;
pub mod retry;
pub mod signature;
pub mod timestamp;
pub mod webhook;

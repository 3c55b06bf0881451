//! The language of banklink: what a webhook says, what it does to a bank link, which events follow.
//!
//! Everything here is pure: no I/O, no async, and the time is handed in (`Instant::now` is for those who hand it in). The
//! same functions serve the worker, the dry run and the tests.

pub mod bank_link;
pub mod dead_letter;
pub mod event;
pub mod failure;
pub mod field;
pub mod json;
pub mod outcome;
pub mod retry;
pub mod timestamp;
pub mod webhook;

//! The ceilings: what a competent program without banklink's features reaches with the same broker and database.
//!
//! They use banklink's schema and topology, and none of its code.

pub(crate) mod drain;
mod event;
pub(crate) mod ingress;
mod outbox;
mod postgres;
mod sqlite;

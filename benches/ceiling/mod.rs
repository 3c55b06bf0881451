//! What a competent program without features does with the same broker and the same database: the measure for banklink.
//!
//! Nothing of banklink's own code is used here but its schema and its topology.

pub(crate) mod drain;
mod event;
pub(crate) mod ingress;
mod postgres;
mod sqlite;

//! The tables of banklink as SeaORM entities: the columns of docs/CONTRACT.md#6-in-the-database, and a few for internal use.

pub mod bank_link;
pub mod dead_letter;
pub mod dead_letter_history;
pub mod lease;
pub mod outbox_event;
pub mod reconcile_run;
pub mod replay;
pub mod replay_history;
pub mod replay_letter;

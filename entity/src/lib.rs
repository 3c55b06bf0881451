//! The tables of banklink as SeaORM entities, as the contract lists them, with a few columns of our own.

pub mod bank_link;
pub mod dead_letter;
pub mod dead_letter_history;
pub mod outbox_event;

//! Formats letters: as JSON with the table's column names as keys, and the parts of table cells.

pub(super) use crate::dead_letters::{entry_object as entry, letter_object_with_body as object_with_body};
pub(in crate::cli) use crate::dead_letters::{letter_object as object, state_name as state};

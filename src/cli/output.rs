//! Printing: results to stdout, everything else to stderr.
//!
//! Bodies, headers, keys and operators' names may hold anything. Everything that is printed for people passes through
//! [`escaped`], so that no text can move the cursor, write the clipboard, reorder letters or forge a line.

use std::io::{IsTerminal, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table};

use super::CommandError;
use crate::escape::escaped;

/// The table width when stdout is not a terminal or its width is unknown.
const DEFAULT_WIDTH: u16 = 80;

/// Prints one line of a result.
///
/// # Errors
/// [`CommandError::BrokenPipe`] if the reader has closed stdout, which ends the command.
pub(super) fn line(text: &str) -> Result<(), CommandError> {
    unescaped(&escaped(text))
}

/// Prints a text of several lines. Fails as [`line()`] does.
pub(super) fn lines(text: &str) -> Result<(), CommandError> {
    text.lines().try_for_each(line)
}

/// Prints what the program itself wrote, such as a script. Fails as [`line()`] does.
pub(super) fn unescaped(text: &str) -> Result<(), CommandError> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(CommandError::BrokenPipe),
        written => Ok(written?),
    }
}

/// Prints a result as JSON on one line. Fails as [`line()`] does.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    line(&serde_json::to_string(value)?)
}

/// The number of columns that [`fitted_table`] fills.
pub(super) fn table_width() -> u16 {
    if std::io::stdout().is_terminal() { Table::new().width().unwrap_or(DEFAULT_WIDTH) } else { DEFAULT_WIDTH }
}

/// Prints aligned rows under a header, within the width of the terminal. Elsewhere no row is wrapped.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), CommandError> {
    print_table(header, rows, u16::MAX)
}

/// Prints aligned rows under a header, within [`table_width`]. The first column is never wrapped, for copying.
pub(super) fn fitted_table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), CommandError> {
    print_table(header, rows, DEFAULT_WIDTH)
}

fn print_table(header: &[&str], rows: Vec<Vec<String>>, width_without_terminal: u16) -> Result<(), CommandError> {
    let escaped_row = |row: Vec<String>| row.iter().map(|cell| escaped(cell).into_owned()).collect::<Vec<_>>();
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header)
        .add_rows(rows.into_iter().map(escaped_row));
    if !std::io::stdout().is_terminal() {
        table.set_width(width_without_terminal);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    // The terminal's own escapes, such as bold, are comfy-table's.
    table.lines().try_for_each(|text| unescaped(text.trim_end()))
}

/// Prints an error on stderr, in one line.
pub(super) fn print_error(error: &str) {
    print_note(&format!("banklink: {}", error.replace('\n', " ")));
}

/// Prints a note on stderr.
pub(super) fn print_note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", escaped(text));
}

/// Prints a note of several lines on stderr.
pub(super) fn print_notes(text: &str) {
    text.lines().for_each(print_note);
}

//! What a command prints: results to stdout, the rest to stderr.

use std::io::{IsTerminal, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table};

use super::Failure;

/// Prints one line of a result. A reader that has gone away is no error of ours, and ends the command.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::BrokenPipe),
        written => Ok(written?),
    }
}

/// What a screen holds when nobody can tell.
const SCREEN: u16 = 80;

/// Prints rows under a header, aligned, as wide as the terminal allows; off a terminal every row stays on its line.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    print(header, rows, u16::MAX)
}

/// How many columns there are to fill.
pub(super) fn screen_width() -> u16 {
    if std::io::stdout().is_terminal() { Table::new().width().unwrap_or(SCREEN) } else { SCREEN }
}

/// Prints rows under a header, aligned, as wide as the terminal allows; off a terminal within 80 columns. The first column
/// is never broken: one wants to copy it.
pub(super) fn table_for_a_screen(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    print(header, rows, SCREEN)
}

fn print(header: &[&str], rows: Vec<Vec<String>>, off_terminal: u16) -> Result<(), Failure> {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if !std::io::stdout().is_terminal() {
        table.set_width(off_terminal);
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    for printed in table.lines() {
        line(printed.trim_end())?;
    }
    Ok(())
}

/// Says on stderr what went wrong, in one line.
pub(super) fn print_error(problem: &str) {
    let _ = writeln!(std::io::stderr().lock(), "banklink: {}", problem.replace('\n', " "));
}

/// Says something on stderr that is no result.
pub(super) fn print_note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

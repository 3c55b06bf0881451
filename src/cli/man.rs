//! `banklink man`: a man page for each command, with its examples in a section of their own.

use std::path::Path;
use std::{fs, io};

use clap::Command;
use clap::builder::Resettable;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Writes the pages of `root` and of all its commands into `directory`, which must exist.
pub(super) fn write(root: Command, directory: &Path) -> io::Result<()> {
    let mut root = root.disable_help_subcommand(true);
    root.build();
    write_pages(&root, directory)
}

fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    let mut shown = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    shown.try_for_each(|subcommand| write_pages(subcommand, directory))?;
    // clap_mangen would print what follows the help under EXTRA, and fill its lines.
    let man = Man::new(command.clone().after_help(Resettable::Reset));
    let mut page = Vec::new();
    man.render(&mut page)?;
    if let Some(examples) = command.get_after_help() {
        page.extend(examples_section(&examples.to_string()).into_bytes());
    }
    fs::write(directory.join(man.get_filename()), page)
}

/// The section of the examples: each line as it is. Their heading is that of the section.
fn examples_section(examples: &str) -> String {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.lines().skip(1) {
        section.text([roman(line)]);
    }
    section.control("fi", []).to_roff()
}

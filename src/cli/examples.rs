//! The examples at the end of each command's `--help`. A test parses each of them.

use clap::Command;

use super::example_table::{EXAMPLES, OVERVIEW};

/// Adds the examples to the help of `root` and its subcommands.
pub(super) fn add_to(root: Command) -> Command {
    let root = root.after_help(text(OVERVIEW));
    EXAMPLES.iter().fold(root, |command, (path, examples)| at(command, path, &text(examples)))
}

fn at(command: Command, path: &[&'static str], examples: &str) -> Command {
    match path.split_first() {
        Some((name, rest)) => command.mut_subcommand(name, |subcommand| at(subcommand, rest, examples)),
        None => command.after_help(examples.to_owned()),
    }
}

fn text(examples: &[(&str, &str)]) -> String {
    let lines = examples.iter().map(|(line, meaning)| format!("  {line}\n      {meaning}"));
    format!("Examples:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli;

    /// The names of the subcommands that a command line leads to.
    fn path_of(line: &str) -> Vec<String> {
        let matches = cli::command_line()
            .try_get_matches_from(cli::switches::with_joined_values(line.split(' ').map(Into::into)));
        let matches = matches.unwrap_or_else(|error| panic!("{line}: {error}"));
        std::iter::successors(matches.subcommand(), |(_, matches)| matches.subcommand())
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Every command, by its path, hidden ones included.
    fn commands(command: &Command, path: &[String], found: &mut BTreeSet<Vec<String>>) {
        for subcommand in command.get_subcommands() {
            let path = [path, &[subcommand.get_name().to_owned()]].concat();
            commands(subcommand, &path, found);
            found.insert(path);
        }
    }

    #[test]
    fn every_command_has_examples_and_each_of_them_can_be_run() {
        let mut all = BTreeSet::new();
        commands(&cli::command_line(), &[], &mut all);
        let with_examples = EXAMPLES.iter().map(|(path, _)| path.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(with_examples.collect::<BTreeSet<Vec<_>>>(), all);
        for (path, examples) in EXAMPLES {
            for (line, _) in *examples {
                assert!(path_of(line).iter().zip(*path).all(|(found, expected)| found == expected), "{line}");
            }
        }
        OVERVIEW.iter().for_each(|(line, _)| assert!(!path_of(line).is_empty(), "{line}"));
    }
}

//! The settings as flags: each command lists its own, and clap learns them from the one page that knows them all.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use clap::{Arg, ArgMatches, Command, FromArgMatches};

use crate::config::{Resolver, Setting};

/// The settings that a command asks for.
pub(super) trait SettingsGroup {
    const FOR: &'static [&'static Setting];
}

/// The flags of those settings, as far as they were given.
pub(super) struct Flags<A> {
    given: BTreeMap<String, String>,
    asks: PhantomData<A>,
}

impl<A> Flags<A> {
    /// A resolver over these flags and the process's environment.
    pub(super) fn resolver(self) -> Resolver<impl Fn(&str) -> Option<String>> {
        // What is no UTF-8 is told as such, rather than passed over.
        Resolver::new(self.given, |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }
}

impl<A: SettingsGroup> clap::Args for Flags<A> {
    fn augment_args(command: Command) -> Command {
        A::FOR.iter().flat_map(|setting| args(setting)).fold(command, Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<A: SettingsGroup> FromArgMatches for Flags<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let names =
            A::FOR.iter().flat_map(|setting| [Some(setting.variable.to_owned()), setting.file_variable()]).flatten();
        let given =
            names.filter_map(|name| matches.get_one::<String>(&name).map(|value| (name.clone(), value.clone())));
        Ok(Self { given: given.collect(), asks: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flag of a setting and, for a secret, the one that names a file.
fn args(setting: &Setting) -> Vec<Arg> {
    let default = setting.default.filter(|default| !default.is_empty() && !setting.secret);
    let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let help = format!("{} [env: {}]{default}", setting.help, setting.variable);
    let arg = |id: String, flag: String, help: String| {
        Arg::new(id)
            .long(flag.clone())
            .value_name("VALUE")
            .help(help)
            .help_heading("Settings")
            .hide_short_help(flag.ends_with("-file"))
    };
    let mut args = vec![arg(setting.variable.to_owned(), setting.flag(), help)];
    if let Some(file) = setting.file_variable() {
        let help = format!("A file that holds it, instead [env: {file}]");
        args.push(arg(file, format!("{}-file", setting.flag()), help));
    }
    args
}

//! Settings as flags and environment variables: a flag wins over a variable, which wins over the default.
//!
//! clap collects the values. Beyond clap, an empty variable counts as unset, a secret may be read from the file that `X_FILE`
//! or `--x-file` names, and all problems are reported together. See docs/CONTRACT.md#3-settings.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

/// A setting with values of type `T`.
pub(super) struct Setting<T> {
    pub(super) info: SettingInfo,
    pub(super) parse: fn(&str) -> Option<T>,
}

/// What a setting is, apart from the type of its values.
#[derive(Clone, Copy, Debug)]
pub struct SettingInfo {
    /// The environment variable. The flag is named after it.
    pub variable: &'static str,
    /// The value if the setting is unset. For a required setting, a valid value that is never used.
    pub default: &'static str,
    /// Whether the setting must be set.
    pub required: bool,
    /// Whether the value may come from a file and is left out of help, logs and errors.
    pub secret: bool,
    /// Whether the flag may stand without a value, which means `true`.
    pub(super) switch: bool,
    pub(super) help: &'static str,
    /// Completes "expected …".
    pub(super) expected: &'static str,
}

impl SettingInfo {
    /// A setting that is neither required nor secret.
    pub(super) const fn new(
        variable: &'static str,
        default: &'static str,
        help: &'static str,
        expected: &'static str,
    ) -> Self {
        Self { variable, default, required: false, secret: false, switch: false, help, expected }
    }

    /// The variable that names a file with the value of a secret.
    fn file_variable(&self) -> String {
        format!("{}_FILE", self.variable)
    }

    /// The flag of the setting and, for a secret, the flag that names a file.
    fn args(&self) -> Vec<Arg> {
        let arg = |variable: String, help: &'static str| {
            let arg = Arg::new(variable.clone()).long(flag(&variable)).value_name("VALUE").help(help);
            let arg = arg.env(variable).hide_env_values(true).help_heading("Settings");
            arg.value_parser(clap::value_parser!(OsString))
        };
        let value = arg(self.variable.to_owned(), self.help);
        if self.secret {
            let help = "Preferred: a file with the value. Other users can see flags, and often variables";
            return vec![value, arg(self.file_variable(), help)];
        }
        if self.required {
            return vec![value];
        }
        let value =
            if self.switch { value.num_args(0..=1).require_equals(true).default_missing_value("true") } else { value };
        vec![value.default_value(self.default).hide_default_value(self.default.is_empty())]
    }

    /// The text of the flag, variable, file or default that counts.
    fn text(&self, matches: &ArgMatches) -> Result<String, String> {
        let (variable, file) = (self.variable, self.file_variable());
        // In a debug build, clap panics if the command does not take the setting.
        let given = |name: &str| {
            let (value, source) = matches.get_one::<OsString>(name).zip(matches.value_source(name))?;
            (source != ValueSource::EnvVariable || !value.is_empty()).then_some((source, value))
        };
        match (given(variable), self.secret.then(|| given(&file)).flatten()) {
            (Some((source, _)), Some((file_source, _))) if source == file_source => {
                Err(format!("{variable} and {file} are both set; set only one of them"))
            }
            // A flag of either kind wins over a variable of either kind.
            (Some((source, text)), named) if named.is_none_or(|(file_source, _)| source > file_source) => {
                text.clone().into_string().map_err(|_| format!("{variable} is not valid UTF-8"))
            }
            (_, Some((_, path))) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.strip_suffix("\r\n").or(text.strip_suffix('\n')).unwrap_or(&text).to_owned()),
                Err(error) => Err(format!("{file}: cannot read {path:?}: {error}")),
            },
            _ if self.required => Err(format!("{variable} is not set: expected {}", self.expected)),
            _ => Ok(self.default.to_owned()),
        }
    }
}

/// The name of the flag: the variable in kebab case, without the prefix `BANKLINK_`.
pub(super) fn flag(variable: &str) -> String {
    variable.trim_start_matches("BANKLINK_").to_lowercase().replace('_', "-")
}

/// The flags of `settings`, for `#[command(args = …)]`.
pub(super) fn setting_args(settings: &[&SettingInfo]) -> Vec<Arg> {
    settings.iter().flat_map(|info| info.args()).collect()
}

/// Everything that is wrong with a command's settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(super) struct Problems(Vec<String>);

/// Reads settings and collects everything that is wrong with them.
pub(super) struct Resolver<'a> {
    matches: &'a ArgMatches,
    problems: Vec<String>,
}

impl Resolver<'_> {
    /// The value of `setting`. In place of an invalid value, which [`Flags::resolve`] will report, it returns the default.
    #[expect(clippy::expect_used, reason = "every default is valid, which a test checks")]
    pub(super) fn get<T>(&mut self, setting: &Setting<T>) -> T {
        let Setting { info, parse } = setting;
        let problem = match info.text(self.matches) {
            Ok(text) => match parse(&text) {
                Some(value) => return value,
                None if info.secret => format!("{}: expected {}", info.variable, info.expected),
                None => format!("{}: expected {}, got {text:?}", info.variable, info.expected),
            },
            Err(problem) => problem,
        };
        self.problems.push(problem);
        parse(info.default).expect(info.variable)
    }
}

impl Resolver<'_> {
    /// Adds a problem of settings that are valid alone, but do not fit each other.
    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// The flags and variables that a command was called with.
pub(super) struct Flags(ArgMatches);

impl Flags {
    /// Takes them from the innermost subcommand.
    pub(super) fn of_subcommand(mut matches: ArgMatches) -> Self {
        while let Some((_, subcommand)) = matches.remove_subcommand() {
            matches = subcommand;
        }
        Self(matches)
    }

    /// What `read` makes of the settings, if nothing is wrong with those that it gets.
    pub(super) fn resolve<T>(&self, read: impl FnOnce(&mut Resolver<'_>) -> T) -> Result<T, Problems> {
        let mut resolver = Resolver { matches: &self.0, problems: Vec::new() };
        let value = read(&mut resolver);
        if resolver.problems.is_empty() { Ok(value) } else { Err(Problems(resolver.problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Setting<u8> = Setting {
        info: SettingInfo { secret: true, required: true, ..SettingInfo::new("SECRET", "0", "", "a digit") },
        parse: |text| text.parse().ok(),
    };

    fn secret(arguments: &[&str]) -> Result<u8, String> {
        let command = clap::Command::new("test").no_binary_name(true).args(setting_args(&[&SECRET.info]));
        let flags = Flags::of_subcommand(command.get_matches_from(arguments));
        flags.resolve(|settings| settings.get(&SECRET)).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_secret_comes_from_a_flag_or_a_file_and_never_shows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "7\r\n").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(secret(&["--secret-file", path]), Ok(7));
        assert_eq!(secret(&["--secret", "8"]), Ok(8));
        assert_eq!(secret(&["--secret", "hunter2"]), Err("SECRET: expected a digit".to_owned()));
        assert_eq!(secret(&[]), Err("SECRET is not set: expected a digit".to_owned()));
        assert!(secret(&["--secret", "8", "--secret-file", path]).unwrap_err().contains("are both set"));
    }
}

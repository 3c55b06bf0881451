//! Settings that are true or false, as flags: `--migrate` is `--migrate=true`.

use std::ffi::OsString;

use super::flags::flag;
use super::settings;

/// `arguments`, where `--migrate true` and the like become `--migrate=true`. clap cannot accept both a flag that stands alone and
/// a value after a space: it would take the next argument, such as a role, for the value.
pub(super) fn with_joined_values(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let switches = settings::ALL.iter().filter(|info| info.switch).map(|info| format!("--{}", flag(info.variable)));
    let (switches, mut joined) = (switches.collect::<Vec<_>>(), Vec::<OsString>::new());
    for argument in arguments {
        match joined.last_mut() {
            Some(last)
                if (argument == "true" || argument == "false") && switches.iter().any(|name| *last == **name) =>
            {
                last.push("=");
                last.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_after_a_space_is_joined_and_a_role_is_not() {
        for (line, expected) in [
            ("run --migrate", "run --migrate"),
            ("run --migrate worker", "run --migrate worker"),
            ("run --migrate true worker", "run --migrate=true worker"),
            ("run --declare false --migrate", "run --declare=false --migrate"),
            ("run --migrate --declare", "run --migrate --declare"),
            ("send true", "send true"),
        ] {
            let joined = with_joined_values(line.split(' ').map(OsString::from));
            assert_eq!(joined.join(" ".as_ref()), expected, "{line}");
        }
    }
}

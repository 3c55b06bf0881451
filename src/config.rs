//! Every setting, on one page: its name, its default, what it is for, and how it is resolved.
//!
//! A flag wins over a variable, a variable over the file that `X_FILE` names, that over the default; an empty variable is an
//! unset one. Whatever is wrong or missing is collected, so that all of it is told at once.

use std::collections::BTreeMap;
use std::fmt;

/// A setting: a variable, and the flag of the same name.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// What holds when nothing is set; `None` where something must be.
    pub default: Option<&'static str>,
    /// What it is for, for `--help`.
    pub help: &'static str,
    /// What a value looks like, for the error that says it does not.
    pub expects: &'static str,
    /// Whether it is kept out of help, logs and errors, and may come from a file.
    pub secret: bool,
}

macro_rules! settings {
    ($($(#[$kind:ident])? $name:ident = $variable:literal, $default:expr, $expects:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $name: Setting = Setting {
                variable: $variable,
                default: $default,
                help: $help,
                expects: $expects,
                secret: settings!(@ $($kind)?),
            };
        )*

        /// Every setting, in the order of this page.
        pub const ALL: [&Setting; 19] = [$(&$name),*];
    };
    (@ secret) => { true };
    (@) => { false };
}

settings! {
    #[secret] DATABASE_URL = "DATABASE_URL", Some("sqlite://banklink.db?mode=rwc"), "a sqlite:// or postgres:// URL",
        "The database: SQLite embedded, PostgreSQL in production. One database serves one namespace";
    #[secret] AMQP_URL = "AMQP_URL", Some("amqp://guest:guest@127.0.0.1:5672/%2f"), "an amqp:// or amqps:// URL",
        "RabbitMQ; amqps:// for TLS";
    NAMESPACE = "BANKLINK_NAMESPACE", Some("banklink"), "1 to 100 letters, digits, dots, hyphens or underscores",
        "First word of every exchange's and queue's name";
    MIGRATE = "BANKLINK_MIGRATE", Some("false"), "true or false",
        "Worker and relay migrate the database before they start, under a lock";
    #[secret] SECRETS = "LEAN_WEBHOOK_SECRETS", None, "one or more secrets, comma separated, none of them empty",
        "The application's webhook secrets; several while one is being replaced";
    LISTEN = "BANKLINK_LISTEN", Some("127.0.0.1:8080"), "an address and a port",
        "Where webhooks are posted to";
    ADMIN_LISTEN = "BANKLINK_ADMIN_LISTEN", Some("127.0.0.1:9464"), "an address and a port",
        "Probes and metrics, of every role";
    MAX_BODY_BYTES = "BANKLINK_MAX_BODY_BYTES", Some("262144"), "1 to 16000000 bytes",
        "The largest body; enforced before anything is hashed";
    INGRESS_DEADLINE = "BANKLINK_INGRESS_DEADLINE", Some("4s"), "a duration of 1ms to 9s, below Lean's own 10 s",
        "Longest wait for the broker's confirm before 503";
    INGRESS_MAX_IN_FLIGHT = "BANKLINK_INGRESS_MAX_IN_FLIGHT", Some("4096"), "1 to 100000",
        "Unconfirmed publishes; past it 503 at once";
    ALLOWED_IPS = "BANKLINK_ALLOWED_IPS", Some(""), "addresses and CIDR ranges, comma separated",
        "Who may post webhooks; empty: everybody";
    TRUSTED_PROXIES = "BANKLINK_TRUSTED_PROXIES", Some(""), "addresses and CIDR ranges, comma separated",
        "Only from these is x-forwarded-for believed; empty: nobody";
    BATCH_SIZE = "BANKLINK_BATCH_SIZE", Some("256"), "1 to 10000",
        "Deliveries in one transaction, at most";
    PREFETCH = "BANKLINK_PREFETCH", Some("1024"), "1 to 65535",
        "Deliveries in hand, at most";
    RETRY_SCHEDULE = "BANKLINK_RETRY_SCHEDULE", Some("5s,30s,2m,10m,1h"), "durations of 1ms to 49 days, comma separated",
        "The delay before each retry; its length is the number of retries";
    DELIVERY_LIMIT = "BANKLINK_DELIVERY_LIMIT", Some("20"), "1 to 1000000",
        "Redeliveries before RabbitMQ itself gives a message up; fixed when the queue is first declared";
    EVENT_SOURCE = "BANKLINK_EVENT_SOURCE", Some("/banklink"), "a URI reference",
        "CloudEvents source";
    LOG_FORMAT = "BANKLINK_LOG_FORMAT", Some(""), "text or json",
        "Log lines on stderr: text or json; unset: text on a terminal, else json. RUST_LOG filters";
    OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", Some(""), "an http:// or https:// URL",
        "Where traces go, by OTLP over gRPC; unset: nowhere. OpenTelemetry's own variables apply";
}

impl Setting {
    /// The flag: the variable in kebab case, without our own prefix.
    #[must_use]
    pub fn flag(&self) -> String {
        self.variable.trim_start_matches("BANKLINK_").to_lowercase().replace('_', "-")
    }

    /// The variable that names a file with the value, for a secret one.
    #[must_use]
    pub fn file_variable(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.variable))
    }

    fn wrong(&self, value: &str) -> String {
        let got = if self.secret { String::new() } else { format!(", got {value:?}") };
        format!("{}: expected {}{got}", self.variable, self.expects)
    }
}

/// Everything that is wrong with the settings, in one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("; "))
    }
}

/// Where values come from. `F` looks up a variable; flags are keyed by the variable they stand for.
pub struct Resolver<F> {
    flags: BTreeMap<String, String>,
    variable: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Resolver<F> {
    /// A resolver over those flags and that environment.
    pub fn new(flags: BTreeMap<String, String>, variable: F) -> Self {
        Self { flags, variable, problems: Vec::new() }
    }

    /// The setting's value as `parse` reads it. `None` if it is wrong or missing, which [`Resolver::finish`] will tell.
    pub fn parse<T>(&mut self, setting: &Setting, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.value(setting)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.problems.push(setting.wrong(&value));
        }
        parsed
    }

    /// What was made of the settings, if nothing was wrong with any of them.
    ///
    /// # Errors
    /// All that was wrong or missing.
    pub fn finish<T>(self, made: Option<T>) -> Result<T, Problems> {
        match made {
            Some(made) if self.problems.is_empty() => Ok(made),
            _ => Err(Problems(self.problems)),
        }
    }

    fn value(&mut self, setting: &Setting) -> Option<String> {
        let file_variable = setting.file_variable();
        let flags =
            (self.flags.remove(setting.variable), file_variable.as_ref().and_then(|file| self.flags.remove(file)));
        let set = |name: &str| (self.variable)(name).filter(|value| !value.is_empty());
        let variables = (set(setting.variable), file_variable.as_ref().and_then(|file| set(file)));
        let file_variable = file_variable.unwrap_or_default();
        // What was typed counts before what was inherited.
        let (value, file) = if flags == (None, None) { variables } else { flags };
        match (value, file) {
            (Some(_), Some(_)) => {
                self.problems.push(format!("{} and {file_variable} are both set: keep one", setting.variable));
                None
            }
            (Some(value), None) if value.contains(char::REPLACEMENT_CHARACTER) => {
                self.problems.push(format!("{} is not UTF-8", setting.variable));
                None
            }
            (Some(value), None) => Some(value),
            (None, Some(file)) => match std::fs::read_to_string(&file) {
                Ok(value) => Some(
                    value.strip_suffix('\n').map(|v| v.strip_suffix('\r').unwrap_or(v)).unwrap_or(&value).to_owned(),
                ),
                Err(error) => {
                    self.problems.push(format!("{file_variable}: cannot read {file:?}: {error}"));
                    None
                }
            },
            (None, None) => {
                if setting.default.is_none() {
                    self.problems.push(format!("{} is not set: expected {}", setting.variable, setting.expects));
                }
                setting.default.map(str::to_owned)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver<'a>(
        flags: &[(&str, &str)],
        variables: &'a [(&str, &str)],
    ) -> Resolver<impl Fn(&str) -> Option<String> + 'a> {
        let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Resolver::new(flags, |name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_the_default() {
        let variables = [("BANKLINK_LISTEN", "variable")];
        let listen = |flags: &[(&str, &str)], variables| resolver(flags, variables).parse(&LISTEN, text);
        assert_eq!(listen(&[("BANKLINK_LISTEN", "flag")], &variables).as_deref(), Some("flag"));
        assert_eq!(listen(&[], &variables).as_deref(), Some("variable"));
        assert_eq!(listen(&[], &[("BANKLINK_LISTEN", "")]).as_deref(), LISTEN.default);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_no_secret_with_it() {
        let variables = [("AMQP_URL", "hunter2"), ("BANKLINK_PREFETCH", "many")];
        let mut resolver = resolver(&[], &variables);
        resolver.parse(&AMQP_URL, |_| None::<()>);
        resolver.parse(&PREFETCH, |_| None::<()>);
        resolver.parse(&SECRETS, text);
        let told = resolver.finish(None::<()>).unwrap_err().to_string();
        assert!(told.contains("AMQP_URL: expected an amqp://"), "{told}");
        assert!(told.contains("BANKLINK_PREFETCH: expected 1 to 65535, got \"many\""), "{told}");
        assert!(told.contains("LEAN_WEBHOOK_SECRETS is not set"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_from_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one,two\n").unwrap();
        let path = file.path().to_str().unwrap();
        let from_file = resolver(&[], &[("LEAN_WEBHOOK_SECRETS_FILE", path)]).parse(&SECRETS, text);
        assert_eq!(from_file.as_deref(), Some("one,two"));
        let variables = [("LEAN_WEBHOOK_SECRETS_FILE", path), ("LEAN_WEBHOOK_SECRETS", "x")];
        let mut both = resolver(&[], &variables);
        assert_eq!(both.parse(&SECRETS, text), None);
        assert!(both.finish(None::<()>).unwrap_err().to_string().contains("both set"));
    }

    #[test]
    fn flags_are_named_after_their_variables() {
        assert_eq!(BATCH_SIZE.flag(), "batch-size");
        assert_eq!(SECRETS.flag(), "lean-webhook-secrets");
    }
}

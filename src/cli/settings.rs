//! The table of settings, and what commands build from them. See docs/CONTRACT.md#3-settings.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::flags::{Resolver, Setting, SettingInfo};
use super::setting_values::{
    Auth, accounts, address, addresses, auth, boolean, client_id, duration, endpoint, namespace, source, tokens,
    uri_reference, within,
};
use crate::api::{self, Tokens};
use crate::broker::{Address, Topology};
use crate::console::{Account, Role, parse_groups, parse_path_prefix};
use crate::domain::listed::Source;
use crate::domain::retry::Schedule;
use crate::domain::signature::Keys;
use crate::ingress::{self, Network, Senders, parse_networks};
use crate::lean::{self, Secret, base_url};
use crate::reconcile;
use crate::store::Store;
use crate::telemetry::LogFormat;
use crate::worker;

/// Declares each setting as `VARIABLE: type [attributes] = default, help, description of valid values, parser;`.
macro_rules! settings {
    ($($name:ident: $type:ty $([$($attribute:ident)+])? = $default:literal, $help:literal, $expected:literal, $parse:expr;)+)
    => {
        $(pub(super) const $name: Setting<$type> = Setting {
            info: SettingInfo {
                $($($attribute: true,)+)?
                ..SettingInfo::new(stringify!($name), $default, $help, $expected)
            },
            parse: $parse,
        };)+

        /// Every setting.
        pub const ALL: &[&SettingInfo] = &[$(&$name.info),+];
    };
}

settings! {
    DATABASE_URL: String [secret] = "sqlite://banklink.db?mode=rwc", "SQLite or PostgreSQL; one database per namespace",
        "a sqlite:// or postgres:// URL", |url| Store::accepts_url(url).then(|| url.to_owned());
    AMQP_URL: Address [secret] = "amqp://guest:guest@127.0.0.1:5672/%2f", "RabbitMQ; use amqps:// for TLS",
        "an amqp:// or amqps:// URL", Address::parse;
    BANKLINK_NAMESPACE: String = "banklink", "Prefix of every exchange and queue name",
        "1 to 100 letters, digits, dots, hyphens or underscores", namespace;
    BANKLINK_DECLARE: bool [switch] = "true", "Declare exchanges and queues on connect; false: only check that they exist",
        "true or false", boolean;
    BANKLINK_MIGRATE: bool [switch] = "false", "Worker and relay migrate the database before they start, under a lock",
        "true or false", boolean;
    LEAN_WEBHOOK_SECRETS: Keys [secret required] = "----------------", "Lean's webhook secrets; more than one during a rotation",
        "one or more secrets of at least 16 characters each, comma separated, without line breaks", Keys::parse;
    BANKLINK_LISTEN: String = "127.0.0.1:8080", "Address that receives webhooks",
        "an address and a port", address;
    BANKLINK_ADMIN_LISTEN: String = "127.0.0.1:9464", "Address of probes and metrics, for every role",
        "an address and a port", address;
    BANKLINK_MAX_BODY_BYTES: usize = "262144", "Maximum body size; checked before the signature is computed",
        "1 to 16000000 bytes", |text| within(text, 1..=16_000_000);
    BANKLINK_INGRESS_DEADLINE: Duration = "4s", "Maximum wait for RabbitMQ's confirm before the ingress answers 503",
        "a duration of 1ms to 9s, below Lean's own 10 s", |text| duration(text, Duration::from_millis(1), Duration::from_secs(9));
    BANKLINK_INGRESS_MAX_IN_FLIGHT: usize = "4096", "Maximum unconfirmed publishes; further webhooks get 503 at once",
        "1 to 100000", |text| within(text, 1..=100_000);
    BANKLINK_ALLOWED_IPS: Vec<Network> = "", "Addresses and CIDR ranges that may post webhooks; empty allows all",
        "addresses and CIDR ranges, comma separated", parse_networks;
    BANKLINK_TRUSTED_PROXIES: Vec<Network> = "", "Proxies whose x-forwarded-for is trusted; empty trusts none",
        "addresses and CIDR ranges, comma separated", parse_networks;
    BANKLINK_BATCH_SIZE: usize = "256", "Maximum deliveries in one transaction",
        "1 to 10000", |text| within(text, 1..=10_000);
    BANKLINK_PREFETCH: u16 = "1024", "Maximum unacknowledged deliveries of a worker",
        "1 to 65535", |text| within(text, 1..=u16::MAX);
    BANKLINK_RETRY_SCHEDULE: Schedule = "5s,30s,2m,10m,1h", "Delay before each retry; one retry per delay",
        "durations of 1ms to 49 days, comma separated", Schedule::parse;
    BANKLINK_DELIVERY_LIMIT: u32 = "20", "Redeliveries before RabbitMQ dead-letters a message; fixed once declared",
        "1 to 1000000", |text| within(text, 1..=1_000_000);
    BANKLINK_MAX_CONNECTIONS: usize = "16384", "Maximum connections to the ingress; when full, the slowest gives way",
        "1 to 1000000", |text| within(text, 1..=1_000_000);
    BANKLINK_API_LISTEN: String = "127.0.0.1:8081", "Address of the read API",
        "an address and a port", address;
    BANKLINK_API_TOKENS: Vec<String> [secret required] = "--------------------------------",
        "Bearer tokens of the read API; more than one during a rotation",
        "one or more tokens of at least 32 characters each, comma separated, of letters, digits and -._~+/=", tokens;
    BANKLINK_CONSOLE_LISTEN: String = "127.0.0.1:8090", "Address of the console",
        "an address and a port", address;
    BANKLINK_CONSOLE_AUTH: Auth = "loopback", "How people log in: loopback (not at all), tokens, or proxy (which names them)",
        "loopback, tokens or proxy", auth;
    BANKLINK_CONSOLE_TOKENS: Option<Vec<Account>> [secret] = "", "Who may log in, as name:role:token; for tokens",
        "name:role:token, comma separated: each name and token once, a role of viewer, operator, auditor or admin, and a token of \
         at least 16 visible characters without commas", accounts;
    BANKLINK_CONSOLE_TRUSTED_PROXIES: Vec<Network> = "", "Proxies whose x-forwarded-* the console trusts; for proxy",
        "addresses and CIDR ranges, comma separated", parse_networks;
    BANKLINK_CONSOLE_ROLES: Vec<(String, Role)> = "", "The role of each group that the proxy names, as group=role",
        "group=role, comma separated, with a role of viewer, operator, auditor or admin", parse_groups;
    BANKLINK_CONSOLE_PATH_PREFIX: String = "", "Path below which a proxy shows the console",
        "a path such as /banklink", parse_path_prefix;
    BANKLINK_CONSOLE_READ_ONLY: bool [switch] = "false", "No one replays, edits or discards in the console",
        "true or false", boolean;
    BANKLINK_CONSOLE_PROCESSES: Vec<String> = "", "Admin addresses whose health the console shows; empty: its own process's",
        "addresses with ports, comma separated", addresses;
    BANKLINK_EVENT_SOURCE: String = "/banklink", "CloudEvents source of published events",
        "a URI reference", uri_reference;
    LEAN_API_URL: Url [required] = "https://localhost", "Base URL of Lean's API",
        "an https:// URL without credentials; http:// only on a loopback address", base_url;
    LEAN_AUTH_URL: Url [required] = "https://localhost", "Base URL of Lean's authorization server",
        "an https:// URL without credentials; http:// only on a loopback address", base_url;
    LEAN_CLIENT_ID: String [required] = "-", "Client id of the application at Lean",
        "a text without spaces", client_id;
    LEAN_CLIENT_SECRET: Secret [secret required] = "-", "Client secret of the application at Lean",
        "a text without spaces or line breaks", |text| client_id(text).map(Secret::new);
    BANKLINK_RECONCILE_EVERY: Duration = "10m", "Interval of the reconciler",
        "a duration of 1s to 7days", |text| duration(text, Duration::from_secs(1), Duration::from_hours(7 * 24));
    BANKLINK_RECONCILE_OVERLAP: Duration = "1h", "How far a run goes back before the last complete instant",
        "a duration of 0s to 90days", |text| duration(text, Duration::ZERO, Duration::from_hours(90 * 24));
    BANKLINK_RECONCILE_SOURCE: Source = "events", "What Lean is asked for: events, or entities where there is no Events API",
        "events or entities", source;
    BANKLINK_LOG_FORMAT: LogFormat = "", "text or json; unset: text on a terminal, else json. RUST_LOG sets the filter",
        "text or json", LogFormat::parse;
    OTEL_EXPORTER_OTLP_ENDPOINT: Option<String> = "", "Receives traces by OTLP/gRPC; unset: none. OTEL_* apply",
        "an http:// or https:// URL", endpoint;
}

/// For commands that use the database.
pub(super) const DATABASE: &[&SettingInfo] = &[&DATABASE_URL.info];
/// For commands that use RabbitMQ.
pub(super) const BROKER: &[&SettingInfo] = &[
    &AMQP_URL.info,
    &BANKLINK_NAMESPACE.info,
    &BANKLINK_DECLARE.info,
    &BANKLINK_RETRY_SCHEDULE.info,
    &BANKLINK_DELIVERY_LIMIT.info,
];
/// For commands that sign webhooks.
pub(super) const SECRETS: &[&SettingInfo] = &[&LEAN_WEBHOOK_SECRETS.info];
/// For `simulate`.
pub(super) const SIMULATOR: &[&SettingInfo] = &[&LEAN_WEBHOOK_SECRETS.info, &BANKLINK_API_TOKENS.info];

/// For commands that reconcile, in addition to [`DATABASE`] and [`BROKER`].
pub(super) const LEAN: &[&SettingInfo] = &[
    &LEAN_API_URL.info,
    &LEAN_AUTH_URL.info,
    &LEAN_CLIENT_ID.info,
    &LEAN_CLIENT_SECRET.info,
    &BANKLINK_RECONCILE_OVERLAP.info,
    &BANKLINK_RECONCILE_SOURCE.info,
];

/// The address of RabbitMQ and what is declared there.
pub(super) fn broker(settings: &mut Resolver<'_>) -> (Address, Arc<Topology>) {
    let schedule = settings.get(&BANKLINK_RETRY_SCHEDULE);
    let topology = Topology::new(&settings.get(&BANKLINK_NAMESPACE), schedule, settings.get(&BANKLINK_DELIVERY_LIMIT));
    let topology = if settings.get(&BANKLINK_DECLARE) { topology } else { topology.declared_elsewhere() };
    (settings.get(&AMQP_URL), Arc::new(topology))
}

/// The database's URL and [`broker`].
pub(super) fn database_and_broker(settings: &mut Resolver<'_>) -> (String, (Address, Arc<Topology>)) {
    (settings.get(&DATABASE_URL), broker(settings))
}

/// The address that receives webhooks, and the settings of the ingress.
pub(super) fn ingress(settings: &mut Resolver<'_>) -> (String, ingress::Settings) {
    let ingress = ingress::Settings {
        keys: settings.get(&LEAN_WEBHOOK_SECRETS),
        senders: Senders {
            allowed: settings.get(&BANKLINK_ALLOWED_IPS),
            trusted: settings.get(&BANKLINK_TRUSTED_PROXIES),
        },
        max_body_bytes: settings.get(&BANKLINK_MAX_BODY_BYTES),
        confirm_deadline: settings.get(&BANKLINK_INGRESS_DEADLINE),
        max_in_flight: settings.get(&BANKLINK_INGRESS_MAX_IN_FLIGHT),
        limits: ingress::Limits::with_max_connections(settings.get(&BANKLINK_MAX_CONNECTIONS)),
    };
    (settings.get(&BANKLINK_LISTEN), ingress)
}

/// The address of the read API, and its settings.
pub(super) fn api(settings: &mut Resolver<'_>) -> (String, api::Settings) {
    let tokens = settings.get(&BANKLINK_API_TOKENS);
    let tokens = Tokens::new(tokens.iter().map(String::as_str));
    (settings.get(&BANKLINK_API_LISTEN), api::Settings::with_tokens(tokens))
}

pub(super) fn worker(settings: &mut Resolver<'_>) -> worker::Settings {
    worker::Settings {
        batch_size: settings.get(&BANKLINK_BATCH_SIZE),
        prefetch: settings.get(&BANKLINK_PREFETCH),
        event_source: settings.get(&BANKLINK_EVENT_SOURCE),
    }
}

pub(super) fn reconciler(settings: &mut Resolver<'_>) -> reconcile::Settings {
    reconcile::Settings {
        source: settings.get(&BANKLINK_RECONCILE_SOURCE),
        every: settings.get(&BANKLINK_RECONCILE_EVERY),
        overlap: settings.get(&BANKLINK_RECONCILE_OVERLAP),
    }
}

/// Where Lean's API is.
pub(super) fn lean(settings: &mut Resolver<'_>) -> lean::Settings {
    lean::Settings {
        api: settings.get(&LEAN_API_URL),
        auth: settings.get(&LEAN_AUTH_URL),
        client_id: settings.get(&LEAN_CLIENT_ID),
        client_secret: settings.get(&LEAN_CLIENT_SECRET),
    }
}

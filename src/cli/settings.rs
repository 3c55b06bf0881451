//! What the settings amount to: each function makes one thing out of the settings it is about.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Address, Topology};
use crate::config::{self, Resolver, Setting};
use crate::domain::retry::Schedule;
use crate::store::Store;
use crate::telemetry::LogFormat;
use crate::{ingress, worker};

/// What it takes to speak to RabbitMQ.
pub(super) const BROKER: [&Setting; 4] =
    [&config::AMQP_URL, &config::NAMESPACE, &config::RETRY_SCHEDULE, &config::DELIVERY_LIMIT];

/// What it takes to speak to RabbitMQ and the database.
pub(super) const BROKER_AND_DATABASE: [&Setting; 5] =
    [&config::DATABASE_URL, &config::AMQP_URL, &config::NAMESPACE, &config::RETRY_SCHEDULE, &config::DELIVERY_LIMIT];

/// Where RabbitMQ is and what is declared on it.
pub(super) fn broker(resolver: &mut Resolver<impl Fn(&str) -> Option<String>>) -> Option<(Address, Arc<Topology>)> {
    let address = resolver.parse(&config::AMQP_URL, Address::parse);
    let namespace = resolver.parse(&config::NAMESPACE, namespace);
    let schedule = resolver.parse(&config::RETRY_SCHEDULE, Schedule::parse);
    let limit = resolver.parse(&config::DELIVERY_LIMIT, |text| between(text, 1, 1_000_000));
    Some((address?, Arc::new(Topology::new(&namespace?, schedule?, limit?))))
}

/// The database's URL.
pub(super) fn database_url(resolver: &mut Resolver<impl Fn(&str) -> Option<String>>) -> Option<String> {
    resolver.parse(&config::DATABASE_URL, |url| Store::accepts_url(url).then(|| url.to_owned()))
}

/// How the process tells what it does: log format, and where traces go.
pub(super) fn telemetry(
    resolver: &mut Resolver<impl Fn(&str) -> Option<String>>,
) -> Option<(LogFormat, Option<String>)> {
    let format = resolver.parse(&config::LOG_FORMAT, LogFormat::parse);
    let endpoint = resolver.parse(&config::OTLP_ENDPOINT, |url| match url {
        "" => Some(None),
        url if url.starts_with("http://") || url.starts_with("https://") => Some(Some(url.to_owned())),
        _ => None,
    });
    Some((format?, endpoint?))
}

/// What the ingress has to know.
pub(super) fn ingress(resolver: &mut Resolver<impl Fn(&str) -> Option<String>>) -> Option<ingress::Settings> {
    let keys = resolver.parse(&config::SECRETS, ingress::Keys::parse);
    let allowed = resolver.parse(&config::ALLOWED_IPS, ingress::parse_networks);
    let trusted = resolver.parse(&config::TRUSTED_PROXIES, ingress::parse_networks);
    let max_body_bytes = resolver.parse(&config::MAX_BODY_BYTES, |text| between(text, 1, 16_000_000));
    let deadline = resolver.parse(&config::INGRESS_DEADLINE, |text| {
        let deadline = humantime::parse_duration(text).ok()?;
        (Duration::from_millis(1)..=Duration::from_secs(9)).contains(&deadline).then_some(deadline)
    });
    let max_in_flight = resolver.parse(&config::INGRESS_MAX_IN_FLIGHT, |text| between(text, 1, 100_000));
    Some(ingress::Settings {
        keys: keys?,
        senders: ingress::Senders { allowed: allowed?, trusted: trusted? },
        max_body_bytes: max_body_bytes?,
        confirm_deadline: deadline?,
        max_in_flight: max_in_flight?,
        limits: ingress::Limits::default(),
    })
}

/// What the worker has to know.
pub(super) fn worker(resolver: &mut Resolver<impl Fn(&str) -> Option<String>>) -> Option<worker::Settings> {
    let batch_size = resolver.parse(&config::BATCH_SIZE, |text| between(text, 1, 10_000));
    let prefetch = resolver.parse(&config::PREFETCH, |text| between(text, 1, u16::MAX));
    let event_source = resolver.parse(&config::EVENT_SOURCE, |text| (!text.is_empty()).then(|| text.to_owned()));
    Some(worker::Settings { batch_size: batch_size?, prefetch: prefetch?, event_source: event_source? })
}

/// `true` or `false`.
pub(super) fn flag(resolver: &mut Resolver<impl Fn(&str) -> Option<String>>, setting: &Setting) -> Option<bool> {
    resolver.parse(setting, |text| match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    })
}

/// An address to listen on.
pub(super) fn address(resolver: &mut Resolver<impl Fn(&str) -> Option<String>>, setting: &Setting) -> Option<String> {
    resolver.parse(setting, |text| {
        let (host, port) = text.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_owned())
    })
}

fn namespace(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    ((1..=100).contains(&text.len()) && text.chars().all(fits)).then(|| text.to_owned())
}

fn between<N: std::str::FromStr + PartialOrd>(text: &str, least: N, most: N) -> Option<N> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

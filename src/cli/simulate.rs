//! `banklink simulate`: a stand-in for Lean.

use std::net::SocketAddr;

use anyhow::Context;
use clap::ValueEnum;
use reqwest::Url;

use super::flags::{Flags, setting_args};
use super::{CommandError, output, settings};
use crate::simulator::{self, Odds, ReadApi, Simulator};
use crate::{server, shutdown};

/// The introduction of `--help`.
pub(super) const ABOUT: &str = "\
Runs a stand-in for Lean on this machine, so that you can integrate, demonstrate and test without an account and offline.

It serves a small shop's page, whose customers connect mock banks through a LinkSDK with the interface of Lean's; your own page \
can load it from /sdk.js. It posts the signed webhooks that follow, to banklink or to your own backend, and it answers Lean's \
token endpoint, Events API and entities API. Webhooks can be duplicated, reordered and dropped, the same ones for the same seed.

It is a tool for development: every client that reaches its address can create links. It stores nothing on disk, so it may be \
killed at any moment; its links are then gone, and no webhook is posted again.";

#[derive(clap::Args)]
#[command(args = setting_args(settings::SIMULATOR))]
pub(super) struct Args {
    /// Address of the page, the SDK and the API
    #[arg(long, default_value = "127.0.0.1:9470", value_name = "ADDRESS")]
    listen: String,
    /// Where webhooks are posted; the path defaults to /webhooks/lean
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/lean", value_name = "URL", value_parser = http_url)]
    webhook_url: Url,
    /// Which country's Lean is simulated
    #[arg(long, value_enum, default_value = "uae")]
    dialect: Dialect,
    /// Percentage of webhooks that are posted twice
    #[arg(long, default_value = "0", value_name = "PCT", value_parser = percentage())]
    duplicate: u8,
    /// Percentage of webhooks that are held back until up to five later ones have overtaken them, for 2 s at most
    #[arg(long, default_value = "0", value_name = "PCT", value_parser = percentage())]
    reorder: u8,
    /// Percentage of webhooks that are never posted, only listed, as if Lean had given up
    #[arg(long, default_value = "0", value_name = "PCT", value_parser = percentage())]
    drop: u8,
    /// Divides Lean's retry timetable of 1, 2, 5, 10, 60 and 180 minutes; the 10 s for an answer stay 10 s
    #[arg(long, default_value = "60", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    time_scale: u32,
    /// Determines ids, and which webhooks are duplicated, reordered and dropped; random by default, and printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Address of banklink's read API, which the page's backend asks for bank links, with the first of BANKLINK_API_TOKENS
    #[arg(long, value_name = "URL", value_parser = http_url)]
    api_url: Option<Url>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dialect {
    /// United Arab Emirates: webhooks with timestamp and event_id, listed by the Events API
    Uae,
    /// Saudi Arabia: webhooks without them, and no Events API
    Ksa,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let (keys, api) = flags.resolve(|values| {
        let api = args.api_url.map(|url| (url, values.get(&settings::BANKLINK_API_TOKENS)));
        (values.get(&settings::LEAN_WEBHOOK_SECRETS), api)
    })?;
    let api = api.and_then(|(url, tokens)| Some(ReadApi { url, token: tokens.into_iter().next()? }));
    let mut webhook_url = args.webhook_url;
    if webhook_url.path() == "/" {
        webhook_url.set_path("/webhooks/lean");
    }
    let settings = simulator::Settings {
        webhook_url,
        keys,
        dialect: match args.dialect {
            Dialect::Uae => simulator::Dialect::Uae,
            Dialect::Ksa => simulator::Dialect::Ksa,
        },
        odds: Odds { duplicate: args.duplicate, reorder: args.reorder, drop: args.drop },
        time_scale: args.time_scale,
        seed: args.seed.unwrap_or_else(random_seed),
        api,
        answer_deadline: simulator::Settings::ANSWER_DEADLINE,
        token_lifetime: simulator::Settings::TOKEN_LIFETIME,
    };
    let stop = shutdown::on_signal().context("cannot watch for signals")?;
    let listener = server::bind(&args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let introduction = introduction(listener.local_addr()?, &settings);
    let simulator = Simulator::new(settings, stop).context("cannot create an HTTP client")?;
    output::print_notes(&introduction);
    simulator.run(listener).await;
    Ok(())
}

/// What a person needs to know, ready to copy.
fn introduction(address: SocketAddr, settings: &simulator::Settings) -> String {
    let url = format!("http://{address}");
    let retries: Vec<String> = simulator::retry_delays(settings.time_scale)
        .into_iter()
        .map(|delay| humantime::format_duration(delay).to_string())
        .collect();
    let bank_links = match &settings.api {
        Some(api) => format!("asked from {}", api.url),
        None => "not shown by the page: no --api-url".to_owned(),
    };
    let warning = if address.ip().is_loopback() {
        ""
    } else {
        "\nWarning: this address is not loopback. Every client that reaches it can create links, and read bank links if an API is set."
    };
    let (dialect, seed, webhook_url) = (settings.dialect.name(), settings.seed, &settings.webhook_url);
    format!(
        "simulating Lean ({dialect}) with --seed {seed}; Ctrl-C ends it, and nothing is stored\n\
         \x20 page        {url}/\n\
         \x20 SDK         <script src=\"{url}/sdk.js\"></script>\n\
         \x20 webhooks    to {webhook_url}, again after {}\n\
         \x20 bank links  {bank_links}\n\
         For what calls Lean's API (any client id and secret are accepted):\n\
         \x20 export LEAN_API_URL={url} LEAN_AUTH_URL={url}\n\
         \x20 export LEAN_CLIENT_ID=simulated-client LEAN_CLIENT_SECRET=simulated-client-secret\n\
         Links without a browser:\n\
         \x20 curl -s {url}/simulate/links -d '{{\"count\":10}}'; curl -s {url}/simulate/status{warning}",
        retries.join(", ")
    )
}

fn random_seed() -> u64 {
    // Short enough to type.
    fastrand::u64(..1_000_000_000)
}

fn percentage() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(0..=100)
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // The program prints it.
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    url.ok_or_else(|| "expected an http:// or https:// URL without credentials".to_owned())
}

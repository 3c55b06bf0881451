//! `banklink send`: signs webhooks and posts them to an ingress, as Lean does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::json;
use tokio::task::JoinSet;

use super::flags::{Flags, setting_args};
use super::webhook_source::WebhookSource;
use super::{CommandError, output, settings};
use crate::domain::signature::{HEADER as SIGNATURE_HEADER, Keys};
use crate::rate_limiter::RateLimiter;

/// Maximum number of concurrent requests.
const MAX_CONCURRENT: usize = 64;
/// Maximum wait for an answer, the same as Lean's.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
#[command(args = setting_args(settings::SECRETS))]
pub(super) struct Args {
    /// Webhooks as JSON, JSON Lines or an array, pages of Lean's Events API, records of its log, or the output of `dead-letters
    /// export`; `-` reads stdin; by default a sample entity.created
    file: Option<String>,
    /// URL of the ingress; the path defaults to /webhooks/lean
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/lean")]
    url: Url,
    /// Number of webhooks to send, repeating the input if it is shorter; by default each once. Each sample is a new bank link
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Maximum webhooks per second; after a delay, at most one second's worth is caught up on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// The answers to all requests.
#[derive(Default)]
struct Totals {
    refused: usize,
    /// The latency of each answer.
    latencies: Vec<Duration>,
    /// Why the last refused webhook was refused.
    last_refusal: Option<String>,
}

/// The latency of one request, and why the webhook was not accepted.
type Answer = (Duration, Result<(), String>);

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let keys = flags.resolve(|values| values.get(&settings::LEAN_WEBHOOK_SECRETS))?;
    let (file, count) = (args.file, args.count);
    let webhooks = tokio::task::spawn_blocking(move || WebhookSource::open(file.as_deref(), count)).await??;
    if let Some(forms) = &webhooks.forms {
        output::print_note(&forms.to_string());
    }
    // reqwest is built without a TLS provider and uses the process's default. It fails only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Without redirects: another server must get neither the body nor the signature.
    let client = Client::builder()
        .timeout(ANSWER_DEADLINE)
        .redirect(redirect::Policy::none())
        .build()
        .context("cannot create an HTTP client")?;
    let mut url = args.url;
    if url.path() == "/" {
        url.set_path("/webhooks/lean");
    }
    let totals = post_all(&client, &url, Arc::new(keys), webhooks, args.rate).await?;
    summarise(totals, args.json)
}

async fn post_all(
    client: &Client,
    url: &Url,
    keys: Arc<Keys>,
    mut webhooks: WebhookSource,
    rate: Option<u32>,
) -> Result<Totals, CommandError> {
    let bar = progress_bar(webhooks.remaining);
    let mut rate_limiter = rate.map(RateLimiter::new);
    let mut in_flight = JoinSet::new();
    let mut totals = Totals::default();
    loop {
        // Reading from a pipe may block, so it must not hold up the requests in flight.
        let (next, source) = tokio::task::spawn_blocking(move || (webhooks.next(), webhooks)).await?;
        webhooks = source;
        let Some(body) = next else { break };
        if let Some(rate_limiter) = &mut rate_limiter {
            rate_limiter.acquire(1).await;
        }
        in_flight.spawn(post(client.clone(), url.clone(), Arc::clone(&keys), body?));
        while let Some(answer) = in_flight.try_join_next() {
            totals.add(answer?, &bar);
        }
        if in_flight.len() >= MAX_CONCURRENT
            && let Some(answer) = in_flight.join_next().await
        {
            totals.add(answer?, &bar);
        }
    }
    while let Some(answer) = in_flight.join_next().await {
        totals.add(answer?, &bar);
    }
    bar.finish_and_clear();
    Ok(totals)
}

async fn post(client: Client, url: Url, keys: Arc<Keys>, body: Vec<u8>) -> Answer {
    let start = Instant::now();
    let signature = keys.sign(&body).unwrap_or_default();
    let request = client.post(url).header(SIGNATURE_HEADER, signature);
    let verdict = match request.header("content-type", "application/json").body(body).send().await {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("answered {}", response.status())),
        Err(error) => Err(format!("{:#}", anyhow!(error.without_url()))),
    };
    (start.elapsed(), verdict)
}

impl Totals {
    fn add(&mut self, (latency, verdict): Answer, bar: &ProgressBar) {
        self.latencies.push(latency);
        if let Err(reason) = verdict {
            self.refused += 1;
            self.last_refusal = Some(reason);
        }
        bar.inc(1);
        bar.set_message(format!("{} refused", self.refused));
    }
}

/// The latency that `percent` of the requests did not exceed, in milliseconds with one decimal.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |latency| (latency.as_secs_f64() * 10_000.0).round() / 10.0)
}

fn summarise(totals: Totals, json: bool) -> Result<(), CommandError> {
    let Totals { refused, mut latencies, last_refusal } = totals;
    latencies.sort_unstable();
    let (p50, p99) = (percentile(&latencies, 50), percentile(&latencies, 99));
    let (sent, accepted) = (latencies.len(), latencies.len() - refused);
    if json {
        output::json(&json!({ "sent": sent, "accepted": accepted, "refused": refused, "p50_ms": p50, "p99_ms": p99 }))?;
    } else {
        let latencies = format!("p50 {p50:.1} ms  p99 {p99:.1} ms");
        output::line(&format!("sent {sent}  accepted {accepted}  refused {refused}  {latencies}"))?;
    }
    match last_refusal {
        Some(reason) => Err(anyhow!("{refused} of {sent} were refused; the last one: {reason}").into()),
        None => Ok(()),
    }
}

fn progress_bar(expected: Option<u64>) -> ProgressBar {
    let (bar, template) = match expected {
        Some(expected) => (ProgressBar::new(expected), "{bar:40} {pos}/{len} {per_sec} {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} {per_sec} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

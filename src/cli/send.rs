//! `banklink send`: signs webhooks and posts them to an ingress, as Lean would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, StatusCode, Url};
use tokio::task::JoinSet;

use super::flags::{Flags, SettingsGroup};
use super::webhooks::{self, Webhooks};
use super::{Failure, output};
use crate::config::{self, Setting};
use crate::ingress::{Keys, SIGNATURE_HEADER};
use crate::rate_limiter::RateLimiter;

/// Posts under way at a time.
const AT_ONCE: usize = 64;
/// Lean waits no longer than this for an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Args {
    /// One JSON value, or JSON Lines, or what `dead-letters export` wrote; `-` is stdin; none: a sample entity.created
    file: Option<String>,
    /// The ingress; without a path, webhooks go to /webhooks/lean
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/lean")]
    url: Url,
    /// How many to send, beginning anew where the input ends; by default each once. Every sample is another bank link
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How many a second, at most; up to a second's worth that was held up follows at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// The summary as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Secrets>,
}

pub(super) struct Secrets;

impl SettingsGroup for Secrets {
    const FOR: &'static [&'static Setting] = &[&config::SECRETS];
}

/// What came of the posts.
#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    /// How long each answer took.
    took: Vec<Duration>,
    /// Why the last refused one was.
    last_refusal: Option<String>,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut resolver = args.flags.resolver();
    let keys = resolver.parse(&config::SECRETS, Keys::parse);
    let keys = resolver.finish(keys)?;
    let webhooks = Webhooks::open(args.file.as_deref(), args.count)?;
    // One TLS library serves everything; it is told so here because nothing else may have been connected yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(ANSWER_DEADLINE).build().context("cannot make an HTTP client")?;
    let mut url = args.url;
    if url.path() == "/" {
        url.set_path("/webhooks/lean");
    }
    let tally = post_all(&client, &url, Arc::new(keys), webhooks, args.rate).await?;
    summarise(&tally, args.json)
}

async fn post_all(
    client: &Client,
    url: &Url,
    keys: Arc<Keys>,
    mut webhooks: Webhooks,
    rate: Option<u32>,
) -> Result<Tally, Failure> {
    let bar = progress(webhooks.expected());
    let mut pace = rate.map(RateLimiter::new);
    let mut under_way = JoinSet::new();
    let mut tally = Tally::default();
    loop {
        // A pipe may take its time; what is under way must not wait for it.
        let (next, rest) = tokio::task::spawn_blocking(move || (webhooks.next(), webhooks)).await?;
        webhooks = rest;
        let Some(body) = next else { break };
        if let Some(pace) = &mut pace {
            pace.acquire(1).await;
        }
        under_way.spawn(post(client.clone(), url.clone(), Arc::clone(&keys), body?));
        while let Some(answer) = under_way.try_join_next() {
            tally.add(answer?, &bar);
        }
        if under_way.len() >= AT_ONCE
            && let Some(answer) = under_way.join_next().await
        {
            tally.add(answer?, &bar);
        }
    }
    while let Some(answer) = under_way.join_next().await {
        tally.add(answer?, &bar);
    }
    bar.finish_and_clear();
    Ok(tally)
}

/// How long the answer took, and why it was no 200.
async fn post(client: Client, url: Url, keys: Arc<Keys>, body: Vec<u8>) -> (Duration, Result<(), String>) {
    let began = Instant::now();
    let signature = keys.sign(&body).unwrap_or_default();
    let request = client.post(url).header(SIGNATURE_HEADER, signature);
    let answer = request.header("content-type", "application/json").body(body).send().await;
    let verdict = match answer {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("answered {}", response.status())),
        Err(error) => Err(webhooks::chain(&error.without_url())),
    };
    (began.elapsed(), verdict)
}

impl Tally {
    fn add(&mut self, (took, verdict): (Duration, Result<(), String>), bar: &ProgressBar) {
        self.took.push(took);
        match verdict {
            Ok(()) => self.accepted += 1,
            Err(why) => {
                self.refused += 1;
                self.last_refusal = Some(why);
            }
        }
        bar.inc(1);
        bar.set_message(format!("{} refused", self.refused));
    }

    /// The time within which that share of the answers came, in tenths of milliseconds.
    fn percentile(&self, share: f64) -> f64 {
        let mut took = self.took.clone();
        took.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let place = (share * took.len() as f64).ceil() as usize;
        took.get(place.saturating_sub(1)).map_or(0.0, |took| (took.as_secs_f64() * 10_000.0).round() / 10.0)
    }
}

fn summarise(tally: &Tally, json: bool) -> Result<(), Failure> {
    let (p50, p99) = (tally.percentile(0.50), tally.percentile(0.99));
    let sent = tally.accepted + tally.refused;
    output::line(&if json {
        let (accepted, refused) = (tally.accepted, tally.refused);
        serde_json::json!({ "sent": sent, "accepted": accepted, "refused": refused, "p50_ms": p50, "p99_ms": p99 })
            .to_string()
    } else {
        format!("sent {sent}  accepted {}  refused {}  p50 {p50:.1} ms  p99 {p99:.1} ms", tally.accepted, tally.refused)
    })?;
    match &tally.last_refusal {
        Some(why) => Err(anyhow::anyhow!("{} of {sent} were refused; the last one: {why}", tally.refused).into()),
        None => Ok(()),
    }
}

fn progress(expected: Option<u64>) -> ProgressBar {
    let template = "{bar:40} {pos}/{len} {per_sec} {msg}";
    let bar = expected.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    match ProgressStyle::with_template(if expected.is_some() { template } else { "{spinner} {pos} {per_sec} {msg}" }) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

//! The read API: how soon a request that waits is answered after the post, and what many waiting requests take.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use uuid::Uuid;

use crate::args::Database;
use crate::bench::Bench;
use crate::http::Client;
use crate::process::{POLL_INTERVAL, Running};
use crate::report::{Figure, format_value};
use crate::sandbox::Sandbox;
use crate::{progress, stats, webhook};

/// The token of the sandbox.
pub(crate) const TOKEN: &str = "bench-token-of-at-least-32-letters";
/// Deadline of one answer, and of what is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let (mut medians, mut tails, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.settings.repeat {
        let sandbox = bench.sandbox(Database::Postgres).await?;
        let mut took = post_to_answer(&sandbox, bench.settings.waits).await.context("post to answer")?;
        took.sort_unstable();
        medians.push(stats::quantile(&took, 0.5));
        tails.push(stats::quantile(&took, 0.99));
        let peak = memory_of_waiting(&sandbox, bench.settings.waiting).await.context("waiting requests")?;
        memory.push(peak);
        progress::print(&format!(
            "post to the answer of a waiting request: p50 {} ms; {} waiting requests: {} MB",
            format_value(stats::quantile(&took, 0.5)),
            bench.settings.waiting,
            format_value(peak)
        ));
        bench.remove(&sandbox).await;
    }
    Ok(vec![
        Figure::new("post to the answer of a waiting request, p50", "ms", medians),
        Figure::new("post to the answer of a waiting request, p99", "ms", tails),
        Figure::new(format!("memory, {} waiting requests, peak", bench.settings.waiting), "MB", memory),
    ])
}

/// The API in a process of its own, its address, and a client of its admin address.
async fn start_api(sandbox: &Sandbox) -> Result<(Running, String, Client)> {
    let mut api = Running::start(sandbox.banklink(&["run", "api"]))?;
    let admin = api.ready().await?;
    let line = api.logged("answering at /v1", DEADLINE, POLL_INTERVAL).await?;
    api.logged("hearing of changes by events", DEADLINE, POLL_INTERVAL).await?;
    Ok((api, line["listen"].as_str().context("no address")?.to_owned(), admin))
}

fn wait_for_first_link(customer: &str) -> Vec<u8> {
    let path = format!("/v1/customers/{customer}/bank-links?wait=60s");
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\n\r\n").into_bytes()
}

/// Waits until that many requests wait.
async fn until_waiting(admin: &mut Client, requests: u32) -> Result<()> {
    let (deadline, line) = (Instant::now() + DEADLINE, format!("banklink_api_waiting {requests}"));
    while !admin.get("/metrics").await?.1.lines().any(|found| found == line) {
        ensure!(Instant::now() < deadline, "not {requests} requests wait");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// One after the other: a request waits for the first link of its customer, which is then posted. The time from the post on.
async fn post_to_answer(sandbox: &Sandbox, count: u32) -> Result<Vec<Duration>> {
    let mut roles = Running::start(sandbox.banklink(&["run"]))?;
    roles.ready().await?;
    let mut ingress = Client::connect(&roles.ingress().await?).await?;
    let (api, address, mut admin) = start_api(sandbox).await?;
    let (key, mut took) = (webhook::key(webhook::SECRET)?, Vec::new());
    for _ in 0..count {
        let body = webhook::created(Uuid::new_v4());
        let parsed: Value = serde_json::from_str(&body)?;
        let request = wait_for_first_link(parsed["payload"]["customer_id"].as_str().context("no customer")?);
        let mut client = Client::connect(&address).await?;
        let answer = tokio::spawn(async move { client.send(&request).await.map(|status| (status, Instant::now())) });
        until_waiting(&mut admin, 1).await?;
        let posted = Instant::now();
        ingress.post(&webhook::post(&key, &body)).await?;
        let (status, answered) = tokio::time::timeout(DEADLINE, answer).await.context("no answer")???;
        ensure!(status == 200, "a request was answered {status}");
        took.push(answered - posted);
    }
    api.stop().await?;
    roles.stop().await?;
    Ok(took)
}

/// The peak of the API's process, in MB, while that many requests wait, each for another customer.
async fn memory_of_waiting(sandbox: &Sandbox, count: u32) -> Result<f64> {
    // This process holds the other ends.
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })?;
    let (api, address, mut admin) = start_api(sandbox).await?;
    let mut waiting = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(&address).await?;
        client.begin(&wait_for_first_link(&Uuid::new_v4().to_string())).await?;
        waiting.push(client);
    }
    until_waiting(&mut admin, count).await?;
    let peak = api.peak_megabytes()?;
    drop(waiting);
    api.stop().await?;
    Ok(peak)
}

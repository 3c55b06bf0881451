//! A load held for a while: memory stays flat, and no queue grows.

use std::time::Duration;

use sea_orm::Database;
use tokio::time::{Instant, MissedTickBehavior};

use crate::SECRET;
use crate::process::{Running, banklink, until_answers};
use crate::services::Services;
use crate::waiting::eventually;
use crate::watch::{queues, rows};

const ROLES: [&str; 3] = ["ingress", "worker", "relay"];
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// How much more memory the last third may take than the middle one, beside what an allocator may hold on to.
const GROWTH: f64 = 1.10;
const SLACK_KIB: f64 = 1024.0;
/// How much of the rate has to come.
const RATE_HELD: f64 = 0.95;
/// What may wait anywhere without being a queue that grows, in seconds of the load.
const SECONDS_UNDER_WAY: f64 = 1.0;

struct Sample {
    rss_kib: [u64; 3],
    /// On the work queue, ready or handed out; dead; in the outbox.
    waiting: [u64; 3],
}

pub(crate) async fn run(length: Duration, rate: u64) -> bool {
    let services = Services::up("soak-steady", &["rabbitmq", "postgres"]).await;
    let role = |role: &str| {
        banklink(&["run", role, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env("AMQP_URL", &services.amqp_url)
            .env("DATABASE_URL", &services.database_url)
            .env("BANKLINK_MIGRATE", "true")
            .env("LEAN_WEBHOOK_SECRETS", SECRET)
            .start()
    };
    let mut processes = Vec::new();
    for name in ROLES {
        let process = role(name);
        until_answers(&process.admin().await, "/readyz", 200).await;
        processes.push(process);
    }
    let url = processes[0].url().await;
    let database = Database::connect(&services.database_url).await.expect("a database");
    // Every sample of `send` is another bank link, so the table grows as it would in life.
    let posts = rate * length.as_secs();
    let sender =
        banklink(&["send", "--url", &url, "--count", &posts.to_string(), "--rate", &rate.to_string(), "--json"])
            .env("LEAN_WEBHOOK_SECRETS", SECRET)
            .start();
    let (samples, lasted) = sample(&services, &database, &processes, &sender, 2 * length).await;
    let told = eventually("the sender's summary", async || summary(&sender)).await;
    println!("{posts} posts in {lasted:?}, {} a second of {rate}: {told}", posts / lasted.as_secs().max(1));
    let drained = async || {
        let left: u64 = waiting(&services, &database).await.iter().sum();
        (left == 0).then_some(())
    };
    eventually("everything drained", drained).await;
    let links = rows(&database, "bank_links").await;
    println!("{posts} posts, {links} bank links");
    // As far as a sample tells when it was over.
    let sending = lasted.saturating_sub(SAMPLE_EVERY).as_secs_f64().max(1.0);
    let held = sending * RATE_HELD <= length.as_secs_f64();
    println!("the rate was {}", if held { "held" } else { "not held" });
    let mut passed = links == posts
        && held
        && is_flat(&samples)
        && does_not_grow(&samples, f64::from(u32::try_from(rate).unwrap_or(u32::MAX)));
    for process in &mut processes {
        passed &= process.terminate().await == 0;
    }
    passed
}

/// What the sender says once it is done.
fn summary(sender: &Running) -> Option<String> {
    sender.log().lines().rev().find_map(|line| line.starts_with('{').then(|| line.to_owned()))
}

/// Looks until the sender is done: one that cannot hold its rate has met the ceiling, and takes longer.
async fn sample(
    services: &Services,
    database: &sea_orm::DatabaseConnection,
    processes: &[Running],
    sender: &Running,
    at_most: Duration,
) -> (Vec<Sample>, Duration) {
    println!("second  ingress KiB  worker KiB  relay KiB  work queue  dead  outbox");
    let (began, mut samples) = (Instant::now(), Vec::new());
    let mut clock = tokio::time::interval(SAMPLE_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while began.elapsed() < at_most && summary(sender).is_none() {
        clock.tick().await;
        let rss_kib = [0, 1, 2].map(|role| rss_kib(&processes[role]));
        let waiting = waiting(services, database).await;
        let ([ingress, worker, relay], [work, dead, outbox]) = (rss_kib, waiting);
        let second = began.elapsed().as_secs();
        println!("{second:>6}  {ingress:>11}  {worker:>10}  {relay:>9}  {work:>10}  {dead:>4}  {outbox:>6}");
        samples.push(Sample { rss_kib, waiting });
    }
    (samples, began.elapsed())
}

fn rss_kib(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn waiting(services: &Services, database: &sea_orm::DatabaseConnection) -> [u64; 3] {
    let queues = queues(services).await;
    let on = |name: &str| queues.get(name).map_or(0, |(ready, handed_out)| ready + handed_out);
    [on("banklink.webhooks"), on("banklink.webhooks.dead"), rows(database, "outbox_events").await]
}

/// The median of each third of the samples; the first third is for warming up.
fn thirds(samples: &[Sample], what: impl Fn(&Sample) -> u64) -> (f64, f64) {
    let third = samples.len() / 3;
    let median = |samples: &[Sample]| {
        let mut values: Vec<u64> = samples.iter().map(&what).collect();
        values.sort_unstable();
        values.get(values.len() / 2).map_or(0.0, |value| f64::from(u32::try_from(*value).unwrap_or(u32::MAX)))
    };
    (median(&samples[third..2 * third]), median(&samples[2 * third..]))
}

fn is_flat(samples: &[Sample]) -> bool {
    let flat = ROLES.iter().enumerate().map(|(place, role)| {
        let (middle, last) = thirds(samples, |sample| sample.rss_kib[place]);
        println!("memory of the {role}: {middle} KiB in the middle third, {last} KiB in the last");
        last <= middle * GROWTH + SLACK_KIB
    });
    flat.fold(true, |all, flat| all & flat)
}

/// Whether no more waits in the last third than in the middle one, beside what is under way.
fn does_not_grow(samples: &[Sample], rate: f64) -> bool {
    let waits = ["on the work queue", "dead", "in the outbox"].iter().enumerate().map(|(place, name)| {
        let (middle, last) = thirds(samples, |sample| sample.waiting[place]);
        println!("{name}: {middle} in the middle third, {last} in the last");
        last <= middle.max(rate * SECONDS_UNDER_WAY)
    });
    waits.fold(true, |all, waits| all & waits)
}

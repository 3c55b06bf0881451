//! A steady load: memory stays constant, and no queue grows.

use std::time::Duration;

use sea_orm::{Database, DatabaseConnection};
use testkit::SECRET;
use testkit::process::{Running, banklink, until_answers};
use testkit::services::Services;
use testkit::waiting::{eventually, until};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::system::{count_rows, queue_counts, run_command};

const ROLES: [&str; 3] = ["ingress", "worker", "relay"];
const BACKLOGS: [&str; 3] = ["work queue", "dead queue", "outbox"];
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
/// How much more memory a process may use in the last third of the samples than in the middle third: a factor, and what an allocator
/// may retain.
const MAX_GROWTH: f64 = 1.10;
const ALLOCATOR_SLACK_KIB: f64 = 1024.0;
/// Which part of the requested rate has to be reached.
const MIN_RATE: f64 = 0.95;
/// How many seconds of the load may wait in a backlog that does not count as growing.
const MAX_BACKLOG_SECONDS: f64 = 1.0;

struct Sample {
    /// The resident memory of the process of each of [`ROLES`].
    rss_kib: [u64; 3],
    /// The messages or events in each of [`BACKLOGS`].
    backlogs: [u64; 3],
}

/// Returns whether the scenario has passed.
pub(crate) async fn run(length: Duration, rate: u64) -> bool {
    let services = Services::up("soak-steady", &["rabbitmq", "postgres"]).await;
    let mut processes = Vec::new();
    for role in ROLES {
        let process = run_command(&services, &[role]).start();
        until_answers(&process.admin().await, "/readyz", 200).await;
        processes.push(process);
    }
    let url = processes[0].url().await;
    let database = Database::connect(&services.database_url).await.expect("a database");
    // Each webhook that `send` makes up is about a new bank link, so the table grows as in production.
    let posts = rate * length.as_secs();
    let sender =
        banklink(&["send", "--url", &url, "--count", &posts.to_string(), "--rate", &rate.to_string(), "--json"])
            .env("LEAN_WEBHOOK_SECRETS", SECRET)
            .start();
    let (samples, lasted) = sample(&services, &database, &processes, &sender, 2 * length).await;
    let summary = eventually("the summary of the sender", async || summary(&sender)).await;
    println!("{posts} posts in {lasted:?}, {} per second of {rate}: {summary}", posts / lasted.as_secs().max(1));
    until("empty queues and an empty outbox", async || backlogs(&services, &database).await == [0; 3]).await;
    let links = count_rows(&database, "bank_links").await;
    println!("{posts} posts, {links} bank links");
    // The end of the load is known to within one sample.
    let sending = lasted.saturating_sub(SAMPLE_INTERVAL).as_secs_f64().max(1.0);
    let rate_reached = sending * MIN_RATE <= length.as_secs_f64();
    println!("the rate was {}", if rate_reached { "reached" } else { "not reached" });
    let (memory_is_constant, backlogs_are_constant) =
        (memory_is_constant(&samples), backlogs_are_constant(&samples, rate));
    let mut passed = links == posts && rate_reached && memory_is_constant && backlogs_are_constant;
    for process in &mut processes {
        passed &= process.terminate().await == 0;
    }
    passed
}

/// The last JSON line of the sender, which it prints at its end.
fn summary(sender: &Running) -> Option<String> {
    sender.log().lines().rfind(|line| line.starts_with('{')).map(str::to_owned)
}

/// Takes samples until the sender has ended, for at most `timeout`: a sender that cannot reach its rate takes longer.
async fn sample(
    services: &Services,
    database: &DatabaseConnection,
    processes: &[Running],
    sender: &Running,
    timeout: Duration,
) -> (Vec<Sample>, Duration) {
    println!("second  ingress KiB  worker KiB  relay KiB  work queue  dead  outbox");
    let (started, mut samples) = (Instant::now(), Vec::new());
    let mut clock = interval(SAMPLE_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while started.elapsed() < timeout && summary(sender).is_none() {
        clock.tick().await;
        let rss_kib = [0, 1, 2].map(|role| rss_kib(&processes[role]));
        let backlogs = backlogs(services, database).await;
        let ([ingress, worker, relay], [work, dead, outbox]) = (rss_kib, backlogs);
        let second = started.elapsed().as_secs();
        println!("{second:>6}  {ingress:>11}  {worker:>10}  {relay:>9}  {work:>10}  {dead:>4}  {outbox:>6}");
        samples.push(Sample { rss_kib, backlogs });
    }
    (samples, started.elapsed())
}

fn rss_kib(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn backlogs(services: &Services, database: &DatabaseConnection) -> [u64; 3] {
    let queues = queue_counts(services).await;
    let on = |name: &str| queues.get(name).map_or(0, |queue| queue.ready + queue.unacknowledged);
    [on("banklink.webhooks"), on("banklink.webhooks.dead"), count_rows(database, "outbox_events").await]
}

/// The medians of the middle and of the last third of the samples. The first third is for warming up.
fn medians(samples: &[Sample], value: impl Fn(&Sample) -> u64) -> (f64, f64) {
    let third = samples.len() / 3;
    let median = |samples: &[Sample]| {
        let mut values: Vec<u64> = samples.iter().map(&value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).map_or(0.0, |value| *value as f64)
    };
    (median(&samples[third..2 * third]), median(&samples[2 * third..]))
}

/// Prints the medians of each role, and returns whether none has grown.
fn memory_is_constant(samples: &[Sample]) -> bool {
    let mut constant = true;
    for (index, role) in ROLES.iter().enumerate() {
        let (middle, last) = medians(samples, |sample| sample.rss_kib[index]);
        println!("memory of the {role}: {middle} KiB in the middle third, {last} KiB in the last");
        constant &= last <= middle * MAX_GROWTH + ALLOCATOR_SLACK_KIB;
    }
    constant
}

/// Prints the medians of each backlog, and returns whether none has grown beyond what is in flight.
fn backlogs_are_constant(samples: &[Sample], rate: u64) -> bool {
    let mut constant = true;
    for (index, name) in BACKLOGS.iter().enumerate() {
        let (middle, last) = medians(samples, |sample| sample.backlogs[index]);
        println!("{name}: {middle} in the middle third, {last} in the last");
        constant &= last <= middle.max(rate as f64 * MAX_BACKLOG_SECONDS);
    }
    constant
}

//! Runs one scenario, from the start of its servers to the verdict.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::collect::judge_when_idle;
use crate::faults::{Skipped, inject};
use crate::plan::{Plan, PlannedFault};
use crate::report::{InjectedFault, print_report};
use crate::rng::Rng;
use crate::scenario::{Fault, Length, Scenario, name};
use crate::sender;
use crate::testbed::Testbed;

/// How long the load runs without faults before the first fault and after the last.
const FAULT_FREE: Duration = Duration::from_secs(4);

/// How often each ingress is tried, once a second, until it accepts webhooks after the last fault. Work has to resume within 5 s
/// (docs/CONTRACT.md#1-promises); a busy machine gets twice that.
const INGRESS_ATTEMPTS: u32 = 10;

/// Options that apply to every scenario.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Inject only a few of the shorter faults, in two minutes; by default into the scenario `postgres` alone
    #[arg(long)]
    quick: bool,
    /// Inject only these faults, in this order
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Seconds after the last fault until a full run is judged, and until a bad verdict is final. RabbitMQ's at-least-once
    /// dead-lettering waits 180 s for a confirm before it publishes again, and may begin that wait twice
    #[arg(long, default_value_t = 400)]
    judge_after: u64,
    /// Keep the logs of a good run
    #[arg(long)]
    keep_logs: bool,
    /// Maximum number of webhooks per second
    #[arg(long, default_value_t = 80)]
    rate: u32,
}

impl Options {
    pub(crate) fn length(&self) -> Length {
        if self.quick { Length::Quick } else { Length::Full }
    }
}

/// Returns whether the verdict is good.
///
/// # Errors
/// When the suite itself fails: servers or processes cannot be started, or the evidence cannot be read.
pub(crate) async fn run(scenario: Scenario, seed: u64, options: &Options) -> anyhow::Result<bool> {
    println!("\n== {}, seed {seed}", name(&scenario));
    let mut rng = Rng::new(seed ^ scenario as u64);
    let plan = Plan::draw(scenario, options.length(), &options.only, &mut rng);
    let directory = create_log_directory(scenario, seed)?;
    let testbed = Testbed::start(scenario, &directory).await?;
    testbed.log("all processes have been started");

    let stop = CancellationToken::new();
    let load = tokio::spawn(sender::run(Arc::clone(&testbed), rng.fork(), options.rate, stop.clone()));
    sleep(FAULT_FREE).await;
    let injected = RefCell::default();
    let injection = tokio::try_join!(
        inject_in_turn(&testbed, plan.infrastructure, &injected),
        inject_in_turn(&testbed, plan.kills, &injected)
    );
    sleep(FAULT_FREE).await;
    let unavailable = sender::unavailable_ingresses(&testbed, INGRESS_ATTEMPTS).await;
    testbed.record_fault();
    stop.cancel();
    let _ = testbed.load_ended.set(Instant::now());
    load.await.context("the sender")?;

    testbed.log("all faults are repaired; waiting until the system is idle");
    let judge_after = Duration::from_secs(options.judge_after);
    let mut verdict = judge_when_idle(&testbed, judge_after, options.length()).await?;
    for url in unavailable {
        verdict.add(format!("{url} accepts nothing {INGRESS_ATTEMPTS} s after the last fault"));
    }
    for exit in testbed.fleet.stop().await {
        verdict.add(exit);
    }
    if let Err(error) = injection {
        verdict.add(format!("{error:#}"));
    }
    print_report(&testbed, &verdict, injected.into_inner());
    if verdict.is_good() && !options.keep_logs {
        let _ = std::fs::remove_dir_all(&directory);
    } else {
        println!("logs: {}", directory.display());
    }
    Ok(verdict.is_good())
}

async fn inject_in_turn(
    testbed: &Testbed,
    faults: Vec<PlannedFault>,
    injected: &RefCell<Vec<InjectedFault>>,
) -> anyhow::Result<()> {
    for PlannedFault { delay, fault, mut rng } in faults {
        sleep(delay).await;
        let at = testbed.age();
        testbed.log(&name(&fault));
        let effect = match inject(testbed, fault, &mut rng).await {
            Ok(effect) => Ok(effect),
            Err(error) => Err(error.downcast::<Skipped>().with_context(|| name(&fault))?),
        };
        testbed.record_fault();
        injected.borrow_mut().push(InjectedFault { at, lasted: testbed.age() - at, fault, effect });
    }
    Ok(())
}

/// An empty directory for the logs of a run.
fn create_log_directory(scenario: Scenario, seed: u64) -> std::io::Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}-{seed}", name(&scenario)));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

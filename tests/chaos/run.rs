//! One scenario from start to verdict.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::evidence;
use crate::faults::Skipped;
use crate::judge::Verdict;
use crate::ledger::Answer;
use crate::plan::{Fault, Length, Plan, Planned, Scenario, inflict};
use crate::sender;
use crate::world::{self, World};

/// How long there is peace before the first fault, and after the last.
const PEACE: Duration = Duration::from_secs(4);

/// Seconds that an ingress may take to be of use again after that: the contract's 5 s, on a busy machine.
const RETURN: u32 = 10;

/// What is to be run.
pub(crate) struct Order {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) length: Length,
    pub(crate) only: Vec<Fault>,
    pub(crate) rate: u32,
    pub(crate) patience: Duration,
    pub(crate) keep_logs: bool,
}

/// A fault that was inflicted.
struct Inflicted {
    at: Duration,
    took: Duration,
    fault: Fault,
    met: Result<String, Skipped>,
}

/// Runs it; whether every promise was kept.
pub(crate) async fn run(order: &Order) -> anyhow::Result<bool> {
    let scenario = order.scenario;
    println!("\n== {scenario}, seed {}", order.seed);
    let mut chance = Chance::new(order.seed ^ scenario as u64);
    let plan = Plan::draw(scenario, order.length, &order.only, &mut chance);
    let directory = world::directory(scenario, order.seed)?;
    let world = World::begin(scenario, &directory).await?;
    world.say("the fleet sails");

    let stop = CancellationToken::new();
    let load = tokio::spawn(sender::run(Arc::clone(&world), chance.fork(), order.rate, stop.clone()));
    tokio::time::sleep(PEACE).await;
    let table = Mutex::default();
    let inflicted = tokio::try_join!(follow(&world, plan.around, &table), follow(&world, plan.kills, &table));
    tokio::time::sleep(PEACE).await;
    let refusing = sender::refusing(&world, RETURN).await;
    world.note_fault();
    stop.cancel();
    world.end_load();
    load.await.context("the sender")?;
    world.say("all is healed; waiting for quiet");
    let mut verdict = evidence::conclude(&world, order.patience, order.length).await?;
    for url in refusing {
        verdict.bad(format!("{url} takes nothing in {RETURN} s after all was healed"));
    }
    for end in world.fleet.stop().await {
        verdict.bad(end);
    }
    if let Err(cause) = inflicted {
        verdict.bad(format!("{cause:#}"));
    }
    tell(&world, &verdict, &mut table.into_inner().unwrap_or_else(PoisonError::into_inner));
    if verdict.is_good() && !order.keep_logs {
        let _ = std::fs::remove_dir_all(&directory);
    } else {
        println!("logs: {}", directory.display());
    }
    Ok(verdict.is_good())
}

async fn follow(world: &World, row: Vec<Planned>, table: &Mutex<Vec<Inflicted>>) -> anyhow::Result<()> {
    for Planned { after, fault, mut chance } in row {
        tokio::time::sleep(after).await;
        let at = world.age();
        world.say(&fault.to_string());
        let met = match inflict(world, fault, &mut chance).await {
            Ok(met) => Ok(met),
            Err(cause) => Err(cause.downcast::<Skipped>().with_context(|| fault.to_string())?),
        };
        world.note_fault();
        let inflicted = Inflicted { at, took: world.age() - at, fault, met };
        table.lock().unwrap_or_else(PoisonError::into_inner).push(inflicted);
    }
    Ok(())
}

fn tell(world: &World, verdict: &Verdict, table: &mut [Inflicted]) {
    table.sort_by_key(|inflicted| inflicted.at);
    println!("\n   at    for  fault");
    for Inflicted { at, took, fault, met } in table.iter() {
        let met = met.as_ref().map_or_else(ToString::to_string, Clone::clone);
        println!("{:>5.0}s {:>5.1}s  {:<22} {met}", at.as_secs_f64(), took.as_secs_f64(), fault.to_string());
    }
    let posts = world.ledger.posts();
    let skipped = table.iter().filter(|inflicted| inflicted.met.is_err()).count();
    let unknown = posts.iter().filter(|post| post.answer == Answer::Unknown).count();
    println!(
        "\n{} webhooks posted, {} of them accepted, {unknown} without a clear answer; {} faults, {skipped} skipped",
        posts.len(),
        world.ledger.accepted(),
        table.len() - skipped,
    );
    println!(
        "{} bank links, {} dead letters ({} reconnects among them whose link came too late), {} events ({} came again), \
         {} times was a webhook put aside",
        verdict.links,
        verdict.letters,
        verdict.died_waiting,
        verdict.events,
        verdict.repeated_events,
        verdict.put_aside,
    );
    println!("lost {}, doubled {}, in {:.0} s", verdict.lost, verdict.doubled, world.age().as_secs_f64());
    for finding in &verdict.findings {
        println!("  ! {finding}");
    }
    if verdict.untold > 0 {
        println!("  ! and {} more", verdict.untold);
    }
    let but = if skipped > 0 { ", but for what was skipped" } else { "" };
    println!("{}: {}{but}", world.scenario, if verdict.is_good() { "good" } else { "BAD" });
}

//! Draws the plan of a run from its seed: which faults are injected, in which order, and when.

use std::time::Duration;

use crate::rng::Rng;
use crate::scenario::{Fault, Length, Scenario};

/// Kills of processes, which are injected concurrently with the other faults.
const KILLS: [Fault; 3] = [Fault::KillIngress, Fault::KillWorker, Fault::KillRelay];

/// Faults that take long, which a quick run leaves out of its random choice.
const LONG: [Fault; 7] = [
    Fault::RabbitmqRestart,
    Fault::RabbitmqKill,
    Fault::PostgresRestart,
    Fault::PostgresKill,
    Fault::StatementTimeout,
    Fault::NetworkHalfOpen,
    Fault::CrashLoop,
];

/// A fault, the delay before it, and the random numbers that it uses.
pub(crate) struct PlannedFault {
    pub(crate) delay: Duration,
    pub(crate) fault: Fault,
    pub(crate) rng: Rng,
}

/// Two sequences of faults, which are injected concurrently.
pub(crate) struct Plan {
    /// Faults of servers and networks.
    pub(crate) infrastructure: Vec<PlannedFault>,
    /// Kills of processes.
    pub(crate) kills: Vec<PlannedFault>,
}

impl Plan {
    /// The plan that the seed gives. If `only` names faults, it contains these and no others.
    pub(crate) fn draw(scenario: Scenario, length: Length, only: &[Fault], rng: &mut Rng) -> Self {
        let mut infrastructure = match length {
            Length::Full => scenario.faults(),
            Length::Quick => quick_faults(scenario, rng),
        };
        rng.shuffle(&mut infrastructure);
        // Both sequences take about the same time.
        let mut kills: Vec<Fault> = (0..infrastructure.len() * 2).map(|_| *rng.choose(&KILLS)).collect();
        if !only.is_empty() {
            infrastructure = only.iter().copied().filter(|fault| !KILLS.contains(fault)).collect();
            kills.retain(|fault| only.contains(fault));
        }
        let mut planned = |faults: Vec<Fault>, max_delay: u64| {
            let plan = |fault| {
                let delay = Duration::from_millis(1_000 + rng.below(max_delay - 1_000));
                PlannedFault { delay, fault, rng: rng.fork() }
            };
            faults.into_iter().map(plan).collect()
        };
        Self { infrastructure: planned(infrastructure, 4_000), kills: planned(kills, 7_000) }
    }
}

/// Four of the shorter faults, and a restart or kill of each server.
fn quick_faults(scenario: Scenario, rng: &mut Rng) -> Vec<Fault> {
    let mut faults = scenario.faults();
    faults.retain(|fault| !LONG.contains(fault));
    rng.shuffle(&mut faults);
    faults.truncate(4);
    faults.push(*rng.choose(&[Fault::RabbitmqRestart, Fault::RabbitmqKill]));
    if scenario != Scenario::Sqlite {
        faults.push(*rng.choose(&[Fault::PostgresRestart, Fault::PostgresKill]));
    }
    faults
}

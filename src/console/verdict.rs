//! What is wrong, in sentences, the worst first.

use chrono::{DateTime, TimeDelta, Utc};

use super::facts::Snapshot;
use super::parts::{letters, number};
use super::processes::Known;
use crate::broker::Topology;
use crate::times::age;

/// How long the oldest event may wait in the outbox.
const MAX_OUTBOX_AGE: TimeDelta = TimeDelta::seconds(60);
/// How far back the reconciler may be complete, once it ever was.
const MAX_INCOMPLETE: TimeDelta = TimeDelta::hours(2);

/// Something that an operator should know.
pub(super) struct Concern {
    /// A sentence.
    pub(super) text: String,
    /// Whether webhooks wait or are lost while it lasts.
    pub(super) is_urgent: bool,
    /// The page about it.
    pub(super) link: Option<(&'static str, &'static str)>,
}

/// All concerns at the time `now`, the urgent ones first.
pub(super) fn concerns(snapshot: &Snapshot, known: &Known, topology: &Topology, now: DateTime<Utc>) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut add = |is_urgent, text: String, link| found.push(Concern { text, is_urgent, link });
    if let Err(class) = &snapshot.kinds {
        add(true, format!("The database does not answer ({class}). Webhooks wait on RabbitMQ."), None);
    }
    match &snapshot.queues {
        Err(class) => {
            add(true, format!("RabbitMQ does not answer ({class}). Webhooks get 503, and Lean repeats them."), None);
        }
        Ok(queues) => {
            let work = queues.iter().find(|queue| queue.name == topology.webhooks());
            if let Some(work) = work.filter(|work| work.consumers == 0) {
                add(true, format!("No worker consumes the work queue; {} wait on it.", webhooks(work.messages)), None);
            }
            let dead = queues.iter().find(|queue| queue.name == topology.dead());
            if let Some(dead) = dead.filter(|dead| dead.messages > 0) {
                let text = format!("{} wait to be recorded as dead letters.", webhooks(dead.messages));
                add(false, text, None);
            }
        }
    }
    for process in &known.processes {
        match &process.roles {
            None => add(true, format!("The process at {} does not answer.", process.address), None),
            Some(roles) => {
                for (role, failed) in roles.iter().filter(|(_, failed)| !failed.is_empty()) {
                    add(true, format!("The {role} at {} is not ready: {}.", process.address, failed.join("; ")), None);
                }
            }
        }
    }
    let oldest = snapshot.outbox.ok().and_then(|outbox| outbox.oldest);
    if let Some(oldest) = oldest.filter(|oldest| now - *oldest > MAX_OUTBOX_AGE) {
        add(true, format!("The oldest event has waited {} to be published.", age(oldest)), None);
    }
    match snapshot.dead() {
        Ok(0) | Err(_) => {}
        Ok(1) => add(false, "1 letter is dead.".to_owned(), Some(("/letters", "Look at it"))),
        Ok(dead) => add(false, format!("{} are dead.", letters(dead)), Some(("/letters", "Look at them"))),
    }
    let complete = snapshot.complete_until.as_ref().ok().and_then(|complete| complete.iter().map(|(_, at)| *at).max());
    if let Some(until) = complete.filter(|until| now - *until > MAX_INCOMPLETE) {
        let text = format!("What Lean lists is accounted for until {} ago only.", age(until));
        add(false, text, Some(("/reconciliation", "Look at the runs")));
    }
    found.sort_by_key(|concern| !concern.is_urgent);
    found
}

fn webhooks(count: u32) -> String {
    format!("{} webhook{}", number(count), if count == 1 { "" } else { "s" })
}

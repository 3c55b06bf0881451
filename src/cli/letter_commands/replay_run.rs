//! Works on a replay in the foreground, for `replay` and `replays resume`: a progress bar, the totals, and why it ended.

use std::time::Duration;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{CommandError, output};
use crate::dead_letters::{OnPublishFailure, ReplayEnd, ReplayWorker, TakenReplay, WorkOptions};
use crate::domain::replay::{ReplayState, ReplayTotals};
use crate::shutdown::Signals;
use crate::store::replays::{Replay, state, totals};

/// What a command prints at the end of a replay.
#[derive(Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) totals: ReplayTotals,
    /// The replay; `None` if there was nothing to replay.
    pub(super) replay: Option<i64>,
}

impl Summary {
    /// Prints the totals.
    pub(super) fn print(&self, json: bool) -> Result<(), CommandError> {
        if json {
            return output::json(self);
        }
        let ReplayTotals { selected, replayed, skipped, applied, stale, ignored, dead, under_way } = self.totals;
        output::line(&format!("selected {selected}  replayed {replayed}  skipped {skipped}"))?;
        let outcomes = format!("applied {applied}  stale {stale}  ignored {ignored}  dead {dead}");
        output::line(&format!("{outcomes}  under way {under_way}"))
    }
}

/// Works on `taken` until it ends. SIGINT and SIGTERM pause it; when the terminal is closed, it stays running for another process.
pub(super) async fn work(
    worker: &ReplayWorker,
    taken: TakenReplay,
    wait: Duration,
    by: &str,
    signals: &Signals,
) -> Result<(Replay, ReplayEnd), CommandError> {
    let replay = taken.replay();
    let (id, letters) = (replay.id, replay.letters);
    output::print_note(&format!("replay {id}: {letters} letters"));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(u64::from(letters.unsigned_abs())).with_style(style);
    let mut on_progress = |replay: &Replay| {
        let ReplayTotals { replayed, skipped, applied, stale, ignored, dead, .. } = totals(replay);
        bar.set_position((replayed + skipped) as u64);
        bar.set_message(format!("applied {applied} stale {stale} ignored {ignored} dead {dead}"));
    };
    let options = WorkOptions {
        canary_wait: wait,
        wait,
        on_publish_failure: OnPublishFailure::Stop,
        by: by.to_owned(),
        pause: signals.stop.clone(),
        hand_over: signals.hangup.clone(),
    };
    let worked = worker.work(taken, &options, &mut on_progress).await;
    bar.finish_and_clear();
    worked.map_err(|cause| anyhow!(cause).context(format!("replay {id} is left running; {}", resume(id))).into())
}

/// Fails unless every replayed letter was resolved. Says why the replay ended, and how to go on.
pub(super) fn judge(replay: &Replay, end: &ReplayEnd) -> Result<(), CommandError> {
    let ReplayTotals { dead, under_way, .. } = totals(replay);
    let id = replay.id;
    let again = format!("{}, or run the same command again to continue", resume(id));
    let by = replay.changed_by.as_deref().unwrap_or("another process");
    Err(match end {
        ReplayEnd::Completed if dead + under_way == 0 => return Ok(()),
        ReplayEnd::Completed if under_way == 0 => anyhow!("{dead} letters are dead again and none is under way"),
        ReplayEnd::Completed => {
            let show = format!("`banklink dead-letters replays show {id}` counts their outcomes");
            anyhow!("{dead} letters are dead again and {under_way} are still under way; {show}")
        }
        ReplayEnd::Paused => anyhow!("interrupted, replay {id} is paused; {again}"),
        ReplayEnd::HandedOver => anyhow!("interrupted, replay {id} stays running; {again}"),
        ReplayEnd::Withdrawn if state(replay) == Some(ReplayState::Paused) => {
            anyhow!("replay {id} was paused by {by}; {}", resume(id))
        }
        ReplayEnd::Withdrawn => {
            anyhow!("replay {id} is {} (by {by}); the other letters were not replayed", replay.state)
        }
        ReplayEnd::LeaseLost => anyhow!("another process works on replay {id} now"),
        ReplayEnd::CanaryFailed => {
            anyhow!("not every canary was resolved; the other letters were not replayed; {}", resume(id))
        }
        ReplayEnd::CanariesUnderWay => {
            anyhow!("{under_way} canaries are still under way, and the other letters wait for them; {}", resume(id))
        }
        ReplayEnd::TooManyFailures => {
            anyhow!("too many letters are dead again; the others were not replayed; {}", resume(id))
        }
        ReplayEnd::PublishFailed(cause) => anyhow!("{cause}; {again}"),
    }
    .into())
}

/// How to go on with the replay `id`.
fn resume(id: i64) -> String {
    format!("continue with `banklink dead-letters replays resume {id}`")
}

//! Formats replays: as JSON with the table's column names as keys, as rows of a table, and one for people.

use serde_json::{Value, json};

use super::{CommandError, output};
use crate::dead_letters::{MAX_DEAD_AGAIN, ReplayView};
use crate::domain::canaries::Canaries;
use crate::domain::replay::ReplayTotals;
use crate::store::replays::{Replay, totals};
use crate::times::{age, time};

/// The replay without its letters.
pub(super) fn object(view: &ReplayView) -> Value {
    let replay = &view.replay;
    json!({
        "id": replay.id,
        "created_at": time(replay.created_at),
        "created_by": replay.created_by,
        "reason": replay.reason,
        "selection": selection(view),
        "letters": replay.letters,
        "state": replay.state,
        "rate": replay.rate,
        "canary": replay.canary,
        "canaries_ignored": replay.canaries_ignored,
        "canaries_ignored_by": replay.canaries_ignored_by,
        "stop_on_failure": replay.stop_on_failure,
        "replayed": replay.replayed,
        "skipped": replay.skipped,
        "applied": replay.applied,
        "stale": replay.stale,
        "ignored": replay.ignored,
        "dead": replay.dead,
        "under_way": totals(replay).under_way,
        "failure": replay.failure,
        "changed_at": time(replay.changed_at),
        "changed_by": replay.changed_by,
        "ended_at": replay.ended_at.map(time),
        "worked_on_by": view.worked_on_by,
    })
}

fn selection(view: &ReplayView) -> Value {
    serde_json::from_str(&view.replay.selection).unwrap_or_default()
}

/// Prints one row for each replay.
pub(super) fn print_list(views: &[ReplayView]) -> Result<(), CommandError> {
    let rows = views.iter().map(|view| {
        let (replay, totals) = (&view.replay, totals(&view.replay));
        let numbers =
            [totals.selected, totals.replayed, totals.skipped, totals.resolved(), totals.dead, totals.under_way];
        let state = vec![replay.id.to_string(), age(replay.created_at), replay.state.clone()];
        let by = vec![replay.created_by.clone(), view.worked_on_by.clone().unwrap_or_else(|| "-".to_owned())];
        [state, numbers.map(|number| number.to_string()).to_vec(), by].concat()
    });
    let counts = ["LETTERS", "REPLAYED", "SKIPPED", "RESOLVED", "DEAD", "UNDER WAY"];
    let header = [&["ID", "AGE", "STATE"][..], &counts, &["BY", "WORKED ON BY"]].concat();
    output::table(&header, rows.collect())
}

/// Prints one replay, and the letters that are dead again.
pub(super) fn print_replay(view: &ReplayView) -> Result<(), CommandError> {
    let (replay, totals) = (&view.replay, totals(&view.replay));
    let ReplayTotals { selected, replayed, skipped, applied, stale, ignored, dead, under_way } = totals;
    let by = replay.changed_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let letters = format!("{selected}: replayed {replayed}  skipped {skipped}  remaining {}", totals.remaining());
    let outcomes = format!("applied {applied}  stale {stale}  ignored {ignored}  dead {dead}  under way {under_way}");
    let fields = [
        ("replay", Some(replay.id.to_string())),
        ("created", Some(format!("{} by {}", time(replay.created_at), replay.created_by))),
        ("reason", replay.reason.clone()),
        ("selection", Some(selection_text(view))),
        ("state", Some(format!("{} since {}{by}", replay.state, time(replay.changed_at)))),
        ("failure", replay.failure.clone()),
        ("worked on by", view.worked_on_by.clone()),
        ("rate", replay.rate.map(|rate| format!("{rate}/s"))),
        ("canary", view.canaries.map(|canaries| canary_text(replay, canaries))),
        ("stop on failure", replay.stop_on_failure.map(|percent| format!("{percent} %"))),
        ("letters", Some(letters)),
        ("outcomes", Some(outcomes)),
        ("ended", replay.ended_at.map(time)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            output::line(&format!("{name:<17}{value}"))?;
        }
    }
    if view.dead_again.is_empty() {
        return Ok(());
    }
    output::lines("\nDead again")?;
    for id in &view.dead_again {
        output::line(&format!("  {id}"))?;
    }
    let others = dead.saturating_sub(view.dead_again.len());
    if others > 0 { output::line(&format!("  … and {others} more; {MAX_DEAD_AGAIN} are listed")) } else { Ok(()) }
}

/// The canaries as `10: 7 resolved, 2 failed (ignored by anna), 1 to come`.
fn canary_text(replay: &Replay, canaries: Canaries) -> String {
    let Canaries { resolved, failed, open } = canaries;
    let by = replay.canaries_ignored_by.as_ref().map(|by| format!(" (ignored by {by})")).unwrap_or_default();
    format!("{}: {resolved} resolved, {failed} failed{by}, {open} to come", canaries.total())
}

/// The selection as `class panicked  limit 100`.
fn selection_text(view: &ReplayView) -> String {
    let Value::Object(members) = selection(view) else { return view.replay.selection.clone() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    members.iter().map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join("  ")
}

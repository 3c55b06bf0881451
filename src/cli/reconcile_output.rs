//! What `banklink reconcile` prints: the missing webhooks, the totals, and the last runs. Nothing of a customer is in it.

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{CommandError, output};
use crate::reconcile::{Continuity, Missing, Report};
use crate::store::reconcile_runs::Run;
use crate::times::{age, time};

/// Maximum rows in the table of missing webhooks.
const MAX_ROWS: usize = 100;

/// Prints missing webhooks: as JSON at once, as a table at the end.
pub(super) struct MissingList {
    json: bool,
    rows: Vec<Vec<String>>,
    missing: usize,
    /// The first failure to print.
    failed: Option<CommandError>,
}

impl MissingList {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: Vec::new(), missing: 0, failed: None }
    }

    /// Adds a webhook. Fails if stdout does; [`MissingList::finish`] returns why.
    pub(super) fn add(&mut self, webhook: &Missing) -> Result<(), ()> {
        self.missing += 1;
        let Missing { message_id, event_id, event_type, entity_id, timestamp } = webhook;
        if self.json {
            let object = json!({
                "message_id": message_id,
                "event_id": event_id,
                "type": event_type,
                "entity_id": entity_id,
                "timestamp": timestamp,
            });
            if let Err(error) = output::json(&object) {
                self.failed.get_or_insert(error);
                return Err(());
            }
        } else if self.rows.len() < MAX_ROWS {
            let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let entity_id = entity_id.map(|id| id.to_string());
            let cells = [event_type.clone(), entity_id, timestamp.clone()].map(or_none);
            self.rows.push([vec![message_id.to_string()], cells.to_vec()].concat());
        }
        Ok(())
    }

    /// Prints the rest and the totals.
    pub(super) fn finish(self, report: Report) -> Result<(), CommandError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.json {
            return print_report(report, None, true);
        }
        if !self.rows.is_empty() {
            let printed = self.rows.len();
            output::table(&["MESSAGE ID", "TYPE", "ENTITY", "TIMESTAMP"], self.rows)?;
            if self.missing > printed {
                output::line(&format!("… and {} more; --json lists all", self.missing - printed))?;
            }
        }
        let counts = report.progress.counts;
        let (known, dead, ignored) = (counts.known, counts.dead, counts.ignored);
        output::line(&format!("known {known}  missing {}  dead {dead}  ignored {ignored}", self.missing))?;
        report.failure.map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// Prints the totals of a run. Fails if it is not complete. `before` is the complete instant before the run.
pub(super) fn print_report(report: Report, before: Option<DateTime<Utc>>, json: bool) -> Result<(), CommandError> {
    let Report { range, progress, complete_until, failure } = report;
    let (counts, failed) = (progress.counts, failure.as_ref().map(ToString::to_string));
    let recorded_until = complete_until.filter(|_| range.continuity == Continuity::Joined);
    if json {
        output::json(&json!({
            "from": time(range.from),
            "to": time(range.to),
            "known": counts.known,
            "sent": counts.sent,
            "missing": progress.missing,
            "dead": counts.dead,
            "ignored": counts.ignored,
            "complete_until": recorded_until.map(time),
            "failure": failed,
        }))?;
    } else {
        let (known, sent, dead, ignored) = (counts.known, counts.sent, counts.dead, counts.ignored);
        output::line(&format!("known {known}  sent {sent}  dead {dead}  ignored {ignored}"))?;
        if let Some(until) = complete_until {
            output::line(&format!("complete from {} to {}", time(range.from), time(until)))?;
        }
    }
    if let Some(failure) = failure {
        return Err(anyhow!(failure).into());
    }
    if range.continuity == Continuity::Gap {
        let stays = before
            .map_or_else(|| "no time is complete yet".to_owned(), |until| format!("complete until {}", time(until)));
        output::print_note(&format!("what Lean lists before {} was not compared: {stays}", time(range.from)));
    }
    Ok(())
}

/// Prints runs, and up to when everything is accounted for.
pub(super) fn print_runs(runs: &[Run], complete_until: Option<DateTime<Utc>>, json: bool) -> Result<(), CommandError> {
    if json {
        runs.iter().try_for_each(|run| output::json(&object(run)))?;
        return output::json(&json!({ "complete_until": complete_until.map(time) }));
    }
    let rows = runs.iter().map(|run| {
        let numbers = [run.known, run.sent, run.dead, run.ignored].map(|number| number.to_string());
        let until = run.complete_until.map_or_else(|| "-".to_owned(), time);
        let result = match (&run.failure, run.ended_at) {
            (Some(failure), _) => failure.clone(),
            (None, Some(_)) => "complete".to_owned(),
            (None, None) => "under way, or killed".to_owned(),
        };
        let begin = vec![run.id.to_string(), run.source.clone(), age(run.started_at), time(run.from), time(run.to)];
        [begin, numbers.to_vec(), vec![until, result]].concat()
    });
    let header = ["ID", "SOURCE", "AGE", "FROM", "TO", "KNOWN", "SENT", "DEAD", "IGNORED", "COMPLETE UNTIL", "RESULT"];
    output::table(&header, rows.collect())?;
    match complete_until {
        Some(until) => output::line(&format!("complete until {} ({} ago)", time(until), age(until))),
        None => output::line("no run was complete yet"),
    }
}

fn object(run: &Run) -> Value {
    json!({
        "id": run.id,
        "source": run.source,
        "started_at": time(run.started_at),
        "ended_at": run.ended_at.map(time),
        "from": time(run.from),
        "to": time(run.to),
        "known": run.known,
        "sent": run.sent,
        "dead": run.dead,
        "ignored": run.ignored,
        "complete_until": run.complete_until.map(time),
        "failure": run.failure,
    })
}

//! `list`, `show`, `stats` and `export`. Revealing and exporting letters is recorded in their history.

use uuid::Uuid;

use super::{CommandError, Filters, actor, database, find, letter_format as format, output, record_access, settings};
use crate::cli::flags::{Flags, setting_args};
use crate::dead_letters::{Masking, render};
use crate::store::letters::{self, Action, Filter, HistoryEntry, Letter};
use crate::times::{age, time};

/// The default `--limit` of `list`.
const DEFAULT_LIMIT: u64 = 100;
/// The width from which `list` has a column for the webhook type.
const MIN_WIDTH_FOR_TYPE: u16 = 110;
/// Maximum letters in memory during an export.
const EXPORT_BATCH: usize = 500;

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct Show {
    /// Id of the letter
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Show customer data; recorded in the letter's history
    #[arg(long)]
    reveal: bool,
    /// Name for the letter's history [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct Stats {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    filters: Filters,
    /// Name for the letters' history [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Accepted for consistency; an export is always JSON Lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(args: List, flags: &Flags) -> Result<(), CommandError> {
    let store = database(flags).await?;
    let mut filter = Filter::from(args.filters);
    filter.limit.get_or_insert(DEFAULT_LIMIT);
    let letters = letters::page(&store, &filter, None).await?;
    if args.json {
        return letters.iter().try_for_each(|letter| output::json(&format::object(letter)));
    }
    let columns = if output::table_width() >= MIN_WIDTH_FOR_TYPE { 5 } else { 4 };
    let rows = letters.iter().map(|letter| {
        let row = [
            letter.message_id.to_string(),
            age(letter.last_died_at),
            format::state(letter).to_owned(),
            letter.failure_class.clone(),
            letter.event_type.clone().unwrap_or_else(|| "-".to_owned()),
        ];
        row.into_iter().take(columns).collect()
    });
    output::fitted_table(&["MESSAGE ID", "DIED", "STATE", "CLASS", "TYPE"][..columns], rows.collect())
}

pub(super) async fn stats(args: Stats, flags: &Flags) -> Result<(), CommandError> {
    let store = database(flags).await?;
    let groups = letters::stats(&store).await?;
    if args.json {
        return groups.iter().try_for_each(|group| {
            output::json(&serde_json::json!({
                "failure_class": group.failure_class, "fingerprint": group.fingerprint, "count": group.count,
                "oldest": time(group.oldest), "newest": time(group.newest), "example": group.example,
            }))
        });
    }
    let rows = groups.into_iter().map(|group| {
        let (oldest, newest) = (age(group.oldest), age(group.newest));
        vec![group.count.to_string(), group.failure_class, group.fingerprint, oldest, newest, group.example]
    });
    output::fitted_table(&["COUNT", "CLASS", "FINGERPRINT", "OLDEST", "NEWEST", "EXAMPLE"], rows.collect())
}

pub(super) async fn show(args: Show, flags: &Flags) -> Result<(), CommandError> {
    let store = database(flags).await?;
    let letter = find(&store, args.id).await?;
    if args.reveal {
        record_access(&store, &[letter.message_id], Action::Revealed, &actor(args.by)).await?;
    }
    let history = letters::history(&store, letter.message_id).await?;
    if args.json {
        let mut object = if args.reveal { format::object_with_body(&letter) } else { format::object(&letter) };
        object["history"] = history.iter().map(format::entry).collect();
        return output::json(&object);
    }
    print_letter(&letter, &history, if args.reveal { Masking::Revealed } else { Masking::Masked })
}

/// Prints headers, failure, history and body.
fn print_letter(letter: &Letter, history: &[HistoryEntry], masking: Masking) -> Result<(), CommandError> {
    let state = format!("{} (deaths {}, replays {})", format::state(letter), letter.deaths, letter.replays);
    let fields = [
        ("message id", Some(letter.message_id.to_string())),
        ("AMQP id", letter.wire_id.clone()),
        ("source", Some(letter.source.clone())),
        ("received at", Some(time(letter.received_at))),
        ("attempts", Some(letter.attempts.to_string())),
        ("edited from", letter.edited_from.clone()),
        ("traceparent", letter.traceparent.clone()),
        ("type", letter.event_type.clone()),
        ("entity", letter.entity_id.map(|id| id.to_string())),
        ("state", Some(state)),
        ("outcome", letter.outcome.clone()),
        ("failure", Some(format!("{}: {}", letter.failure_class, letter.failure))),
        ("fingerprint", Some(letter.fingerprint.clone())),
        ("note", letter.note.clone()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            output::line(&format!("{name:<15}{value}"))?;
        }
    }
    output::lines("\nHistory")?;
    for entry in history {
        let by = entry.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let detail = entry.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        output::line(&format!("  {}  {}{by}{detail}", time(entry.at), entry.action))?;
    }
    output::lines("\nBody")?;
    output::lines(&render(&letter.body, masking))
}

pub(super) async fn export(args: Export, flags: &Flags) -> Result<(), CommandError> {
    let store = database(flags).await?;
    let by = actor(args.by);
    // Selected up front, so that letters which die during the export do not prolong it.
    let selected = letters::select(&store, &Filter::from(args.filters)).await?;
    for batch in letters::batches(&selected, EXPORT_BATCH) {
        let letters = letters::load_selected(&store, batch).await?;
        let ids: Vec<Uuid> = letters.iter().map(|letter| letter.message_id).collect();
        record_access(&store, &ids, Action::Exported, &by).await?;
        letters.iter().try_for_each(|letter| output::json(&format::object_with_body(letter)))?;
    }
    Ok(())
}

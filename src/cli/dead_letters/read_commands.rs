//! `list`, `show`, `stats` and `export`: looking, and what is remembered of it.

use uuid::Uuid;

use super::{Database, Failure, Filters, database, format, who};
use crate::cli::flags::Flags;
use crate::cli::output;
use crate::dead_letters::{Masking, render};
use crate::store::dead_letters::{self, Action, Filter, HistoryEntry, Letter};

/// What `list` shows unless told otherwise.
const LIST: u64 = 100;
/// From that many columns on, there is room for the type.
const WITH_TYPE: u16 = 110;
/// Letters exported at a time: their bodies are in memory.
const EXPORT: usize = 500;

#[derive(clap::Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filters: Filters,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Database>,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Show {
    /// The letter
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Show the customer's data too; the letter's history remembers it
    #[arg(long)]
    reveal: bool,
    /// Who asks; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Database>,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Stats {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Database>,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    filters: Filters,
    /// Who takes the copy; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Accepted for uniformity: an export is JSON Lines anyway
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Database>,
}

pub(super) async fn list(args: List) -> Result<(), Failure> {
    let store = database(args.flags).await?;
    let mut filter = Filter::from(args.filters);
    filter.limit.get_or_insert(LIST);
    let letters = dead_letters::list(&store, &filter).await?;
    if args.json {
        return letters
            .iter()
            .try_for_each(|letter| output::line(&serde_json::Value::Object(format::object(letter)).to_string()));
    }
    let has_room = output::screen_width() >= WITH_TYPE;
    let rows = letters.iter().map(|letter| {
        let event_type = has_room.then(|| letter.event_type.clone().unwrap_or_else(|| "-".to_owned()));
        let (id, died) = (letter.message_id.to_string(), format::age(letter.last_died_at));
        let row = [id, died, format::state(letter).to_owned(), letter.failure_class.clone()];
        row.into_iter().chain(event_type).collect()
    });
    let header = ["MESSAGE ID", "DIED", "STATE", "CLASS", "TYPE"];
    output::table_for_a_screen(&header[..if has_room { 5 } else { 4 }], rows.collect())
}

pub(super) async fn stats(args: Stats) -> Result<(), Failure> {
    let store = database(args.flags).await?;
    let kinds = dead_letters::stats(&store).await?;
    if args.json {
        return kinds.iter().try_for_each(|kind| {
            let object = serde_json::json!({
                "failure_class": kind.failure_class, "fingerprint": kind.fingerprint, "count": kind.count,
                "oldest": format::time(kind.oldest), "newest": format::time(kind.newest), "example": kind.example,
            });
            output::line(&object.to_string())
        });
    }
    let rows = kinds.into_iter().map(|kind| {
        let ages = [format::age(kind.oldest), format::age(kind.newest)];
        let [oldest, newest] = ages;
        vec![kind.count.to_string(), kind.failure_class, kind.fingerprint, oldest, newest, kind.example]
    });
    output::table_for_a_screen(&["COUNT", "CLASS", "FINGERPRINT", "OLDEST", "NEWEST", "EXAMPLE"], rows.collect())
}

pub(super) async fn show(args: Show) -> Result<(), Failure> {
    let store = database(args.flags).await?;
    let Some(letter) = dead_letters::find(&store, args.id).await? else {
        return Err(anyhow::anyhow!("there is no dead letter {}", args.id).into());
    };
    let masking = if args.reveal { Masking::Revealed } else { Masking::Masked };
    if args.reveal {
        dead_letters::record_access(&store, &[letter.message_id], Action::Revealed, &who(args.by)).await?;
    }
    let history = dead_letters::history(&store, letter.message_id).await?;
    if args.json {
        let mut object = match format::object_with_body(&letter) {
            serde_json::Value::Object(object) if args.reveal => object,
            _ => format::object(&letter),
        };
        object.insert("history".to_owned(), history.iter().map(format::entry).collect());
        return output::line(&serde_json::Value::Object(object).to_string());
    }
    print_letter(&letter, &history, masking)
}

/// Headers, failure, history, body.
fn print_letter(letter: &Letter, history: &[HistoryEntry], masking: Masking) -> Result<(), Failure> {
    let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let facts = [
        ("message id", letter.message_id.to_string()),
        ("id on the wire", optional(&letter.wire_id)),
        ("source", letter.source.clone()),
        ("received at", format::time(letter.received_at)),
        ("attempts", letter.attempts.to_string()),
        ("edited from", optional(&letter.edited_from)),
        ("traceparent", optional(&letter.traceparent)),
        ("type", optional(&letter.event_type)),
        ("entity", letter.entity_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
        ("state", format!("{} (deaths {}, replays {})", format::state(letter), letter.deaths, letter.replays)),
        ("outcome", optional(&letter.outcome)),
        ("failure", format!("{}: {}", letter.failure_class, letter.failure)),
        ("fingerprint", letter.fingerprint.clone()),
        ("note", optional(&letter.note)),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| value != "-") {
        output::line(&format!("{name:<15}{value}"))?;
    }
    output::line("\nHistory")?;
    for entry in history {
        let by = entry.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let detail = entry.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        output::line(&format!("  {}  {}{by}{detail}", format::time(entry.at), entry.action))?;
    }
    output::line("\nBody")?;
    output::line(&render(&letter.body, masking))
}

pub(super) async fn export(Export { filters, by, json: _, flags }: Export) -> Result<(), Failure> {
    let store = database(flags).await?;
    let by = who(by);
    let filter = Filter::from(filters);
    // Selected up front, so that an export does not chase what dies meanwhile.
    let chosen = dead_letters::select(&store, &filter).await?;
    for chosen in dead_letters::batches(&chosen, EXPORT) {
        let letters = dead_letters::fetch(&store, chosen).await?;
        let ids: Vec<Uuid> = letters.iter().map(|letter| letter.message_id).collect();
        dead_letters::record_access(&store, &ids, Action::Exported, &by).await?;
        for letter in &letters {
            output::line(&format::object_with_body(letter).to_string())?;
        }
    }
    Ok(())
}

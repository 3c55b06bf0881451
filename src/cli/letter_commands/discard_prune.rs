//! `discard` gives dead letters up; `prune` deletes letters that were resolved or discarded, and replays that ended.

use std::time::Duration;

use serde_json::json;

use super::{ActionArgs, CommandError, Selection, actor, before_now, confirm, database, output, require_all, settings};
use crate::cli::flags::{Flags, setting_args};
use crate::dead_letters::collect_outcomes;
use crate::store::{letters, replays};

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Why; kept with the letters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    action: ActionArgs,
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE))]
pub(in crate::cli) struct Prune {
    /// Minimum age since the letter was resolved or discarded, or the replay ended, such as 30d
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    resolved_older_than: Duration,
    /// Only count the letters and the replays
    #[arg(long)]
    dry_run: bool,
    /// Print the total as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn discard(args: Discard, flags: &Flags) -> Result<(), CommandError> {
    let named = !args.selection.ids.is_empty();
    let filter = args.selection.filter()?;
    let store = database(flags).await?;
    require_all(&store, &filter).await?;
    let letters = letters::select_dead(&store, &filter).await?;
    confirm(&format!("{} dead letters will be discarded.", letters.len()), args.action.yes || named)?;
    let discarded = letters::discard(&store, &letters, &args.reason, &actor(args.action.by)).await?;
    let selected = letters.len().max(filter.ids.len()) as u64;
    let skipped = selected - discarded;
    if args.action.json {
        // `replayed` is part of the totals of `replay`, `edit` and `discard` alike.
        let totals = json!({ "selected": selected, "replayed": 0, "skipped": skipped, "discarded": discarded });
        return output::json(&totals);
    }
    output::line(&format!("selected {selected}  discarded {discarded}  skipped {skipped}"))
}

pub(super) async fn prune(args: Prune, flags: &Flags) -> Result<(), CommandError> {
    let before = before_now(args.resolved_older_than)
        .ok_or_else(|| CommandError::Usage("--resolved-older-than: the age is too large".to_owned()))?;
    let store = database(flags).await?;
    let mode = if args.dry_run { letters::PruneMode::Count } else { letters::PruneMode::Delete };
    if mode == letters::PruneMode::Delete {
        collect_outcomes(&store).await?;
    }
    let pruned = letters::prune(&store, before, mode).await?;
    let replays = replays::prune(&store, before, mode).await?;
    if args.json {
        return output::json(&json!({ "pruned": pruned, "replays": replays, "dry_run": args.dry_run }));
    }
    let result = if args.dry_run { "would be pruned" } else { "pruned" };
    output::line(&format!("{pruned} letters and {replays} replays {result}"))
}

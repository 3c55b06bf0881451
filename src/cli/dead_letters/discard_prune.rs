//! `discard` and `prune`: giving up, and clearing away.

use chrono::{TimeDelta, Utc};
use serde_json::json;

use super::{ActionArgs, Database, Failure, Selection, all_there, ask, database, who};
use crate::cli::flags::Flags;
use crate::cli::output;
use crate::store::dead_letters;

#[derive(clap::Args)]
pub(in crate::cli) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Why; kept with the letters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    manner: ActionArgs,
    #[command(flatten)]
    flags: Flags<Database>,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Prune {
    /// How long ago they were resolved or discarded, such as 30d
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    resolved_older_than: std::time::Duration,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// The total as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Database>,
}

pub(super) async fn discard(args: Discard) -> Result<(), Failure> {
    let named = !args.selection.ids.is_empty();
    let filter = args.selection.filter()?;
    let store = database(args.flags).await?;
    all_there(&store, &filter).await?;
    let chosen = dead_letters::select_dead(&store, &filter).await?;
    ask(&format!("{} dead letters will be given up.", chosen.len()), args.manner.yes || named)?;
    let discarded = dead_letters::discard(&store, &chosen, &args.reason, &who(args.manner.by)).await?;
    let selected = chosen.len().max(filter.ids.len()) as u64;
    let skipped = selected - discarded;
    if args.manner.json {
        // `replayed` is there because all three commands end with the same totals.
        let totals = json!({ "selected": selected, "replayed": 0, "skipped": skipped, "discarded": discarded });
        return output::line(&totals.to_string());
    }
    output::line(&format!("selected {selected}  discarded {discarded}  skipped {skipped}"))
}

pub(super) async fn prune(args: Prune) -> Result<(), Failure> {
    let age = TimeDelta::from_std(args.resolved_older_than).ok().and_then(|age| Utc::now().checked_sub_signed(age));
    let before =
        age.ok_or_else(|| Failure::Usage("--resolved-older-than: the calendar cannot hold that".to_owned()))?;
    let store = database(args.flags).await?;
    let what = if args.dry_run { dead_letters::Prune::Count } else { dead_letters::Prune::Delete };
    let pruned = dead_letters::prune(&store, before, what).await?;
    if args.json {
        return output::line(&json!({ "pruned": pruned, "dry_run": args.dry_run }).to_string());
    }
    output::line(&format!("{pruned} letters {}", if args.dry_run { "would be pruned" } else { "pruned" }))
}

//! `banklink reconcile`: compares what Lean lists with what is here, and sends what is missing; `status` prints the last runs.

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::connections::{open, with_publisher};
use super::flags::{Flags, setting_args};
use super::reconcile_output::{MissingList, print_report, print_runs};
use super::{CommandError, settings};
use crate::broker::Publisher;
use crate::lean::{Client, command_limit};
use crate::reconcile::{Progress, Range, Reconciling};
use crate::shutdown;
use crate::store::reconcile_runs::{complete_until, latest};
use crate::times::parse_time;

/// How many runs `status` prints.
const MAX_RUNS: u64 = 20;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER), args = setting_args(settings::LEAN))]
pub(super) struct Args {
    /// Begin after this time: RFC 3339, or an age such as 2h or 3d [default: before the last complete instant, or 90 days ago]
    #[arg(long, value_name = "T", value_parser = parse_time)]
    from: Option<DateTime<Utc>>,
    /// End with this time: RFC 3339, or an age [default: now]
    #[arg(long, value_name = "T", value_parser = parse_time)]
    to: Option<DateTime<Utc>>,
    /// List what is missing, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print results as JSON, one object per line
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Print the last runs, and up to when everything that Lean lists is accounted for
    Status(StatusArgs),
}

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(&[&settings::BANKLINK_RECONCILE_SOURCE.info]))]
struct StatusArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    if let Some(Action::Status(args)) = args.action {
        return status(&args, flags).await;
    }
    let ((url, broker), lean, source, overlap) = flags.resolve(|values| {
        let source = values.get(&settings::BANKLINK_RECONCILE_SOURCE);
        let overlap = values.get(&settings::BANKLINK_RECONCILE_OVERLAP);
        (settings::database_and_broker(values), settings::lean(values), source, overlap)
    })?;
    // What Lean will list in the future is not known, so nothing can be complete until then.
    if args.to.is_some_and(|to| to > Utc::now()) {
        return Err(CommandError::Usage("--to is in the future".to_owned()));
    }
    if args.from.is_some_and(|from| from >= args.to.unwrap_or_else(Utc::now)) {
        return Err(CommandError::Usage("--from must be before --to".to_owned()));
    }
    let store = open(&url).await?;
    let client = Client::new(lean, command_limit())?;
    let stop = shutdown::on_signal()?;
    let before = complete_until(&store, source).await?;
    let range = Range::new(args.from, args.to, before, TimeDelta::from_std(overlap)?);
    let reconciling = Reconciling { store: &store, client: &client, source };
    let bar = progress_bar();
    let result = if args.dry_run {
        list_missing(&reconciling, range, &stop, args.json, &bar).await
    } else {
        let send = async |publisher: &Publisher| {
            let report = reconciling.send_missing(range, publisher, &stop, &mut |progress| show(&bar, progress)).await;
            bar.finish_and_clear();
            Ok(report?)
        };
        let report = with_publisher(broker, send).await?;
        print_report(report, before, args.json)
    };
    store.close().await;
    result
}

async fn list_missing(
    reconciling: &Reconciling<'_>,
    range: Range,
    stop: &CancellationToken,
    json: bool,
    bar: &ProgressBar,
) -> Result<(), CommandError> {
    let mut list = MissingList::new(json);
    let mut print = |missing: &_| {
        let printed = bar.suspend(|| list.add(missing));
        if printed.is_err() {
            stop.cancel();
        }
    };
    let report = reconciling.list_missing(range, stop, &mut print, &mut |progress| show(bar, progress)).await;
    bar.finish_and_clear();
    list.finish(report)
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pages {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let Progress { counts, missing, pages, expected_pages } = progress;
    bar.set_length(*expected_pages);
    bar.set_position(*pages);
    let found = if *missing > 0 { format!("missing {missing}") } else { format!("sent {}", counts.sent) };
    bar.set_message(format!("known {} {found} dead {} ignored {}", counts.known, counts.dead, counts.ignored));
}

async fn status(args: &StatusArgs, flags: &Flags) -> Result<(), CommandError> {
    let (url, source) = flags
        .resolve(|values| (values.get(&settings::DATABASE_URL), values.get(&settings::BANKLINK_RECONCILE_SOURCE)))?;
    let store = open(&url).await?;
    let (runs, until) = (latest(&store, MAX_RUNS).await?, complete_until(&store, source).await?);
    store.close().await;
    print_runs(&runs, until, args.json)
}

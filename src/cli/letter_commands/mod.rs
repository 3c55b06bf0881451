//! `banklink dead-letters`: the arguments, checks and connections that its commands share.

mod discard_prune;
mod edit_command;
pub(super) mod letter_format;
mod read_commands;
mod replay_command;
mod replay_run;
mod replays_commands;
mod replays_format;

use std::io::{IsTerminal, Write};

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tracing::warn;
use uuid::Uuid;

use super::connections::{database, open, with_publisher};
use super::flags::Flags;
use super::{CommandError, output, settings};
use crate::domain::dead_letter::State;
use crate::domain::failure::FailureClass;
use crate::store::Store;
use crate::store::letters::{self, Action, Filter, Letter};
use crate::times::{before_now, parse_time};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List dead letters, latest death first; at most 100 unless --limit is given
    List(read_commands::List),
    /// Show one letter: headers, failure, history and body
    Show(read_commands::Show),
    /// Count dead letters by failure class and fingerprint
    Stats(read_commands::Stats),
    /// Replay dead letters through the work queue
    Replay(replay_command::Args),
    /// List, show, pause, resume and cancel replays
    #[command(subcommand)]
    Replays(replays_commands::Command),
    /// Replay a dead letter with another body, as a new message
    Edit(edit_command::Args),
    /// Discard dead letters, with a reason; a discarded letter cannot be replayed
    Discard(discard_prune::Discard),
    /// Print letters as JSON Lines, with their bodies in base64
    Export(read_commands::Export),
    /// Delete letters that were resolved or discarded, and replays that ended, long ago
    Prune(discard_prune::Prune),
}

pub(super) async fn run(command: Command, flags: &Flags) -> Result<(), CommandError> {
    match command {
        Command::List(args) => read_commands::list(args, flags).await,
        Command::Show(args) => read_commands::show(args, flags).await,
        Command::Stats(args) => read_commands::stats(args, flags).await,
        Command::Replay(args) => replay_command::run(args, flags).await,
        Command::Replays(command) => replays_commands::run(command, flags).await,
        Command::Edit(args) => edit_command::run(args, flags).await,
        Command::Discard(args) => discard_prune::discard(args, flags).await,
        Command::Export(args) => read_commands::export(args, flags).await,
        Command::Prune(args) => discard_prune::prune(args, flags).await,
    }
}

/// The largest `LIMIT` that both databases accept.
const MAX_LIMIT: u64 = i64::MAX.unsigned_abs();
#[derive(clap::Args)]
struct Filters {
    /// Failure class
    #[arg(long, value_name = "C", value_parser = class_parser())]
    class: Option<FailureClass>,
    /// Type of the webhook
    #[arg(long = "type", value_name = "T")]
    event_type: Option<String>,
    /// Entity id of the webhook
    #[arg(long, value_name = "ID")]
    entity: Option<Uuid>,
    /// Fingerprint of the failure, as printed by `stats`
    #[arg(long, value_name = "F")]
    fingerprint: Option<String>,
    /// Last died at this time or later: RFC 3339, or an age such as 2h or 3d
    #[arg(long, value_name = "T", value_parser = parse_time)]
    since: Option<DateTime<Utc>>,
    /// Last died before this time: RFC 3339, or an age
    #[arg(long, value_name = "T", value_parser = parse_time)]
    until: Option<DateTime<Utc>>,
    /// State
    #[arg(long, value_name = "S", value_parser = state_parser())]
    state: Option<State>,
    /// Maximum number of letters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_LIMIT))]
    limit: Option<u64>,
}

/// The letters that a command changes, given by id or by filters.
#[derive(clap::Args)]
struct Selection {
    /// Ids of letters
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    #[command(flatten)]
    filters: Filters,
}

/// The arguments of every command that changes letters.
#[derive(clap::Args)]
struct ActionArgs {
    /// Name for the letter's history [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print results as JSON, one object per line
    #[arg(long)]
    json: bool,
}

impl From<Filters> for Filter {
    fn from(filters: Filters) -> Self {
        let Filters { class, event_type, entity, fingerprint, since, until, state, limit } = filters;
        Self { ids: Vec::new(), class, event_type, entity, fingerprint, since, until, state, limit }
    }
}

impl Selection {
    /// The selection as a filter. An empty selection is an error, because it would mean all letters.
    fn filter(self) -> Result<Filter, CommandError> {
        let ids = self.ids;
        let filter = Filter::from(self.filters);
        let has_filters = format!("{filter:?}") != format!("{:?}", Filter::default());
        match (ids.is_empty(), has_filters) {
            (true, false) => {
                Err(CommandError::Usage("name letters by id or select them by filters; see --help".to_owned()))
            }
            (false, true) => Err(CommandError::Usage("ids and filters cannot be combined".to_owned())),
            _ => Ok(Filter { ids, ..filter }),
        }
    }
}

/// Fails if a letter that was named by its id does not exist.
async fn require_all(store: &Store, filter: &Filter) -> Result<(), CommandError> {
    if filter.ids.is_empty() {
        return Ok(());
    }
    let found = letters::select(store, &Filter { ids: filter.ids.clone(), ..Filter::default() }).await?;
    match filter.ids.iter().find(|id| !found.iter().any(|letter| letter.id == **id)) {
        Some(missing) => Err(no_such_letter(*missing)),
        None => Ok(()),
    }
}

async fn find(store: &Store, id: Uuid) -> Result<Letter, CommandError> {
    letters::load_one(store, id).await?.ok_or_else(|| no_such_letter(id))
}

/// Records in the letters' history, and then in the log, who sees unmasked bodies. Call it before anything is shown.
async fn record_access(store: &Store, ids: &[Uuid], action: Action, by: &str) -> Result<(), CommandError> {
    letters::record_access(store, ids, action, by, None).await?;
    let first = ids.first().map(Uuid::to_string);
    warn!(action = action.as_str(), by = ?by, letters = ids.len(), first, "customer data is shown");
    Ok(())
}

fn no_such_letter(id: Uuid) -> CommandError {
    anyhow!("there is no dead letter {id}").into()
}

/// Asks `question` on the terminal unless `confirmed`. Fails with wrong usage if stdin is not a terminal.
fn confirm(question: &str, confirmed: bool) -> Result<(), CommandError> {
    if confirmed {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::Usage("stdin is not a terminal; pass --yes".to_owned()));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(anyhow!("cancelled; nothing was done").into()) }
}

/// The name for the history: `by`, else the user of the operating system.
pub(super) fn actor(by: Option<String>) -> String {
    by.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty())).unwrap_or_else(|| "unknown".to_owned())
}

fn class_parser() -> impl TypedValueParser<Value = FailureClass> {
    let names = FailureClass::ALL.map(FailureClass::as_str);
    PossibleValuesParser::new(names).try_map(|name| FailureClass::parse(&name).ok_or("not a failure class"))
}

fn state_parser() -> impl TypedValueParser<Value = State> {
    let names = [State::Dead, State::Replaying, State::Resolved, State::Discarded].map(State::as_str);
    PossibleValuesParser::new(names).try_map(|name| State::parse(&name).ok_or("not a state"))
}

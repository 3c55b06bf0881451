//! `banklink dead-letters`: what died, why, and how to send it in again without fear.

mod discard_prune;
mod edit_command;
mod format;
mod read_commands;
mod replay_command;

use std::io::{IsTerminal, Write};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Failure, migrate, settings};
use crate::cli::flags::{Flags, SettingsGroup};
use crate::config::{self, Setting};
use crate::domain::dead_letter::State;
use crate::domain::failure::FailureClass;
use crate::store::dead_letters::{self, Filter};
use crate::store::{IfMissing, Store};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// The newest deaths first, at most 100 unless --limit says otherwise
    List(read_commands::List),
    /// One letter: headers, failure, history, body
    Show(read_commands::Show),
    /// What is dead now, by kind of failure
    Stats(read_commands::Stats),
    /// Send letters in again by the front door
    Replay(replay_command::Args),
    /// Send a letter in again with another body
    Edit(edit_command::Args),
    /// Give letters up, with a reason
    Discard(discard_prune::Discard),
    /// Letters as JSON Lines, bodies in base64
    Export(read_commands::Export),
    /// Delete what was resolved or discarded long ago; what is dead is never pruned
    Prune(discard_prune::Prune),
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(args) => read_commands::list(args).await,
        Command::Show(args) => read_commands::show(args).await,
        Command::Stats(args) => read_commands::stats(args).await,
        Command::Replay(args) => replay_command::run(args).await,
        Command::Edit(args) => edit_command::run(args).await,
        Command::Discard(args) => discard_prune::discard(args).await,
        Command::Export(args) => read_commands::export(args).await,
        Command::Prune(args) => discard_prune::prune(args).await,
    }
}

/// The settings of a command that only looks into the database.
struct Database;

impl SettingsGroup for Database {
    const FOR: &'static [&'static Setting] = &[&config::DATABASE_URL];
}

/// The settings of a command that needs the database and the broker.
pub(super) struct DatabaseAndBroker;

impl SettingsGroup for DatabaseAndBroker {
    const FOR: &'static [&'static Setting] = &settings::BROKER_AND_DATABASE;
}

/// The most that a database can be asked for.
const MAX_LETTERS: u64 = i64::MAX.unsigned_abs();

/// Which letters. Times are of the last death.
#[derive(clap::Args)]
struct Filters {
    /// Of that failure class
    #[arg(long, value_name = "C", value_parser = class)]
    class: Option<FailureClass>,
    /// Of webhooks of that type
    #[arg(long = "type", value_name = "T")]
    event_type: Option<String>,
    /// About that entity
    #[arg(long, value_name = "ID")]
    entity: Option<Uuid>,
    /// Of that kind of failure, as `stats` tells
    #[arg(long, value_name = "F")]
    fingerprint: Option<String>,
    /// That died at that time or later: RFC 3339, or an age such as 2h or 3d
    #[arg(long, value_name = "T", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// That died before that time
    #[arg(long, value_name = "T", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// In that state: dead, replaying, resolved or discarded
    #[arg(long, value_name = "S", value_parser = state)]
    state: Option<State>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_LETTERS))]
    limit: Option<u64>,
}

/// Letters to do something to: named, or found by filters.
#[derive(clap::Args)]
struct Selection {
    /// The letters
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    #[command(flatten)]
    filters: Filters,
}

/// How something is done to letters.
#[derive(clap::Args)]
struct ActionArgs {
    /// Who does it; by default $USER
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// What came of it as JSON, one object a line
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
    /// As a filter; nothing at all would mean everything, which nobody says by accident.
    fn filter(self) -> Result<Filter, Failure> {
        let ids = self.ids;
        let filter = Filter::from(self.filters);
        let filters = format!("{filter:?}") != format!("{:?}", Filter::default());
        match (ids.is_empty(), filters) {
            (true, false) => Err(Failure::Usage("name letters, or filter them: see --help".to_owned())),
            (false, true) => Err(Failure::Usage("name letters or filter them, not both".to_owned())),
            _ => Ok(Filter { ids, ..filter }),
        }
    }
}

/// Whether every letter that was named is there: one that is not was mistyped.
async fn all_there(store: &Store, filter: &Filter) -> Result<(), Failure> {
    if filter.ids.is_empty() {
        return Ok(());
    }
    let there = dead_letters::select(store, &Filter { ids: filter.ids.clone(), ..Filter::default() }).await?;
    match filter.ids.iter().find(|id| !there.iter().any(|chosen| chosen.id == **id)) {
        Some(missing) => Err(anyhow::anyhow!("there is no dead letter {missing}").into()),
        None => Ok(()),
    }
}

/// Opens the database of a command that needs nothing else.
async fn database(flags: Flags<Database>) -> Result<Store, Failure> {
    let mut resolver = flags.resolver();
    let url = settings::database_url(&mut resolver);
    let url = resolver.finish(url)?;
    open(&url).await
}

/// Opens the database at `url`, which has to have its tables.
async fn open(url: &str) -> Result<Store, Failure> {
    let store = Store::connect(url, IfMissing::Refuse).await?;
    migrate::require(&store).await?;
    Ok(store)
}

/// Asks before something that cannot be taken back. Off a terminal nobody can answer, so it has to be said beforehand.
fn ask(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{question} Nobody is there to answer: say --yes")));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::Failed(anyhow::anyhow!("nothing was done")))
    }
}

/// Who does it: as said, else the user of the system.
fn who(by: Option<String>) -> String {
    by.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty())).unwrap_or_else(|| "unknown".to_owned())
}

fn class(text: &str) -> Result<FailureClass, String> {
    FailureClass::parse(text)
        .ok_or_else(|| format!("one of {}", FailureClass::ALL.map(FailureClass::as_str).join(", ")))
}

fn state(text: &str) -> Result<State, String> {
    State::parse(text).ok_or_else(|| "one of dead, replaying, resolved, discarded".to_owned())
}

/// An RFC 3339 time, or an age.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let age = humantime::parse_duration(text).map_err(|_| "an RFC 3339 time, or an age such as 2h or 3d".to_owned())?;
    chrono::TimeDelta::from_std(age)
        .ok()
        .and_then(|age| Utc::now().checked_sub_signed(age))
        .ok_or_else(|| "an age that the calendar can hold".to_owned())
}

//! `edit`: replays a dead letter with another body, after showing the difference and a dry run.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use serde_json::json;
use tokio::process::Command;
use uuid::Uuid;

use super::letter_format::state;
use super::{ActionArgs, CommandError, actor, confirm, find, open, output, record_access, settings, with_publisher};
use crate::broker::Publisher;
use crate::cli::flags::{Flags, setting_args};
use crate::dead_letters::{DryRun, Masking, indented, line_difference, render, send_edited};
use crate::shutdown;
use crate::store::Store;
use crate::store::letters::{self, Action, Filter, Letter};

#[derive(clap::Args)]
#[command(args = setting_args(settings::DATABASE), args = setting_args(settings::BROKER))]
pub(in crate::cli) struct Args {
    /// Id of the letter
    #[arg(value_name = "ID")]
    id: Uuid,
    /// File with the new body; by default the body is opened in $EDITOR
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Show customer data in the difference
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    action: ActionArgs,
}

pub(super) async fn run(args: Args, flags: &Flags) -> Result<(), CommandError> {
    let (url, broker) = flags.resolve(settings::database_and_broker)?;
    let store = open(&url).await?;
    let by = actor(args.action.by);
    let letter = find(&store, args.id).await?;
    let filter = Filter { ids: vec![args.id], ..Filter::default() };
    let Some(selected) = letters::select_dead(&store, &filter).await?.first().copied() else {
        return Err(anyhow!("{} is {}; only dead letters can be edited", args.id, state(&letter)).into());
    };
    // On record before anything is shown: the editor reveals the body, and even the masked difference between it and another body
    // answers guesses.
    record_access(&store, &[args.id], Action::Revealed, &by).await?;
    let body = match &args.body {
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => open_editor(&letter.body).await?,
    };
    if body == letter.body {
        return Err(anyhow!("the body is unchanged; use `replay` to send it as it is").into());
    }
    let masking = if args.reveal { Masking::Revealed } else { Masking::Masked };
    preview(&store, &letter, &body, masking).await?;
    confirm("The edited body will be sent as a new message.", args.action.yes)?;
    let send = async |publisher: &Publisher| Ok(send_edited(&store, publisher, selected, body.into(), &by).await?);
    let sent = with_publisher(broker, send).await?;
    let replayed = usize::from(sent.is_some());
    if args.action.json {
        output::json(&json!({ "selected": 1, "replayed": replayed, "skipped": 1 - replayed, "message_id": sent }))?;
    } else if let Some(id) = sent {
        output::line(&format!("sent as {id}"))?;
    }
    if sent.is_some() { Ok(()) } else { Err(anyhow!("the letter is no longer dead; nothing was sent").into()) }
}

/// Prints the difference between the bodies and a dry run of the new one.
async fn preview(store: &Store, letter: &Letter, body: &[u8], masking: Masking) -> Result<(), CommandError> {
    let (old, new) = (render(&letter.body, masking), render(body, masking));
    let difference = line_difference(&old, &new)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(false)
        .header("dead", "edited")
        .to_string();
    let only_masked = "only masked values differ; --reveal shows them";
    output::print_notes(if difference.is_empty() { only_masked } else { &difference });
    let edited = Letter { body: body.to_vec(), ..letter.clone() };
    for result in DryRun::default().run(store, &[edited]).await? {
        output::print_note(format!("dry run: {} {}", result.action.as_str(), result.detail()).trim_end());
    }
    Ok(())
}

/// Opens `body` in $EDITOR, indented if it is JSON, and returns the edited body; `body` itself if it was not changed. The file
/// is in a directory of its own, which only this user can enter, because editors leave backups beside it. SIGTERM, SIGHUP and
/// SIGINT end the editor, and the directory is removed in any case.
async fn open_editor(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let original = std::str::from_utf8(body).ok().and_then(indented).map_or_else(|| body.to_vec(), String::into_bytes);
    let editor = std::env::var("EDITOR").unwrap_or_default();
    let mut words = editor.split_whitespace();
    let program = words.next().context("EDITOR is not set; set it or pass --body FILE")?;
    let directory = tempfile::Builder::new().prefix("banklink-").permissions(Permissions::from_mode(0o700)).tempdir();
    let directory = directory.context("cannot create a temporary directory")?;
    let file = directory.path().join("body.json");
    std::fs::write(&file, &original).context("cannot write the temporary file")?;
    let stop = shutdown::on_signal()?;
    let mut editing = Command::new(program).args(words).arg(&file).kill_on_drop(true).spawn();
    let editing = editing.as_mut().map_err(|error| anyhow!("cannot run {program}: {error}"))?;
    let Some(status) = stop.run_until_cancelled(editing.wait()).await else {
        return Err(anyhow!("interrupted; nothing was done"));
    };
    let status = status.with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}; nothing was done");
    let edited = std::fs::read(&file).context("cannot read the edited file")?;
    Ok(if edited == original { body.to_vec() } else { edited })
}

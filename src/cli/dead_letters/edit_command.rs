//! `edit`: another body for a letter, its difference and a dry run shown before it is sent.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Value, json};
use similar::TextDiff;
use uuid::Uuid;

use super::{ActionArgs, DatabaseAndBroker, Failure, ask, open, who};
use crate::cli::flags::Flags;
use crate::cli::publisher_session::PublisherSession;
use crate::cli::{output, settings};
use crate::dead_letters::{DryRun, Masking, render, send_edited};
use crate::store::Store;
use crate::store::dead_letters::{self, Filter, Letter, Selected};

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The letter
    #[arg(value_name = "ID")]
    id: Uuid,
    /// The new body; by default it is edited in $EDITOR
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Show the customer's data in the difference too
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    manner: ActionArgs,
    #[command(flatten)]
    flags: Flags<DatabaseAndBroker>,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut resolver = args.flags.resolver();
    let (url, broker) = (settings::database_url(&mut resolver), settings::broker(&mut resolver));
    let (url, (address, topology)) = resolver.finish(url.zip(broker))?;
    let store = open(&url).await?;
    let by = who(args.manner.by);
    let Some(letter) = dead_letters::find(&store, args.id).await? else {
        return Err(anyhow::anyhow!("there is no dead letter {}", args.id).into());
    };
    let filter = Filter { ids: vec![args.id], ..Filter::default() };
    let Some(chosen) = dead_letters::select_dead(&store, &filter).await?.first().copied() else {
        return Err(anyhow::anyhow!(
            "{} is {}, and only what is dead is edited",
            args.id,
            super::format::state(&letter)
        )
        .into());
    };
    let body = match &args.body {
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => {
            dead_letters::record_access(&store, &[args.id], dead_letters::Action::Revealed, &by).await?;
            in_editor(&letter.body)?
        }
    };
    if body == letter.body {
        return Err(anyhow::anyhow!("the body is the same; to send it in as it is, replay it").into());
    }
    let masking = if args.reveal { Masking::Revealed } else { Masking::Masked };
    preview(&store, &letter, &body, masking).await?;
    ask("It will be sent in as a new message.", args.manner.yes)?;
    let wire = PublisherSession::open(address, topology).await?;
    let sent = send(&store, &wire, chosen, body, &by).await;
    wire.close().await;
    let sent = sent?;
    let replayed = usize::from(sent.is_some());
    if args.manner.json {
        output::line(
            &json!({ "selected": 1, "replayed": replayed, "skipped": 1 - replayed, "message_id": sent }).to_string(),
        )?;
    } else if let Some(id) = sent {
        output::line(&format!("sent in as {id}"))?;
    }
    if sent.is_some() { Ok(()) } else { Err(anyhow::anyhow!("somebody else took the letter meanwhile").into()) }
}

async fn send(
    store: &Store,
    wire: &PublisherSession,
    chosen: Selected,
    body: Vec<u8>,
    by: &str,
) -> Result<Option<Uuid>, Failure> {
    Ok(send_edited(store, wire.publisher(), chosen, Bytes::from(body), by).await?)
}

/// The difference, and what the new body would do, for whoever is about to say yes.
async fn preview(store: &Store, letter: &Letter, body: &[u8], masking: Masking) -> Result<(), Failure> {
    let (old, new) = (render(&letter.body, masking), render(body, masking));
    let difference = TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(false)
        .header("dead", "edited")
        .to_string();
    output::print_note(if difference.is_empty() {
        "only masked values differ; --reveal shows them"
    } else {
        &difference
    });
    let edited = Letter { body: body.to_vec(), ..letter.clone() };
    for rehearsed in DryRun::new(store.clone()).run(&[edited]).await? {
        let what = rehearsed.failure.unwrap_or_else(|| rehearsed.events.join(", "));
        output::print_note(format!("dry run: {} {what}", rehearsed.action).trim_end());
    }
    Ok(())
}

/// Has the body edited, indented if it is JSON; as it was if nothing was changed.
fn in_editor(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let indented = serde_json::from_slice::<Value>(body).ok().and_then(|json| serde_json::to_vec_pretty(&json).ok());
    let given = indented.unwrap_or_else(|| body.to_vec());
    let mut file = tempfile::Builder::new()
        .prefix("banklink-")
        .suffix(".json")
        .tempfile()
        .context("cannot make a file to edit")?;
    file.write_all(&given).context("cannot write the file to edit")?;
    file.flush()?;
    let editor = std::env::var("EDITOR")
        .ok()
        .filter(|editor| !editor.is_empty())
        .context("EDITOR is not set: say --body FILE")?;
    let mut words = editor.split_whitespace();
    let program = words.next().context("EDITOR is not set: say --body FILE")?;
    let status = std::process::Command::new(program).args(words).arg(file.path()).status();
    let status = status.with_context(|| format!("cannot run {program}"))?;
    anyhow::ensure!(status.success(), "{program} ended with {status}: nothing was done");
    let edited = std::fs::read(file.path()).context("cannot read what was edited")?;
    Ok(if edited == given { body.to_vec() } else { edited })
}

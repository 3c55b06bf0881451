//! The webhooks that `send` posts: out of a file, or samples.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use anyhow::{Context, anyhow};
use base64::Engine;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// The longest line that is read, in bytes: more than any ingress takes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Bodies to post, one after the other.
pub(super) struct Webhooks {
    source: Source,
    left: Option<u64>,
}

enum Source {
    /// Each one a new bank link.
    Samples,
    /// One value over several lines.
    Single(Vec<u8>),
    /// A value a line, from a file that can be read again.
    File(BufReader<File>),
    /// A value a line, from a pipe; the first line was read to see what it is.
    Pipe(Option<Vec<u8>>, BufReader<std::io::Stdin>),
}

/// A line that `dead-letters export` wrote.
#[derive(Deserialize)]
struct Exported {
    #[serde(rename = "message_id")]
    _message_id: Uuid,
    body: String,
}

impl Webhooks {
    /// Opens a file, stdin for `-`, or samples for none; `count` is how many to give, by default each once.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no JSON.
    pub(super) fn open(file: Option<&str>, count: Option<u64>) -> anyhow::Result<Self> {
        let (source, each_once) = match file {
            None => (Source::Samples, Some(1)),
            Some("-") => {
                let mut lines = BufReader::new(std::io::stdin());
                let first = read_line(&mut lines)?.ok_or_else(|| anyhow!("stdin is empty"))?;
                match is_json(&first) {
                    true => (Source::Pipe(Some(first), lines), None),
                    false => (Source::Single(single(first, lines).context("stdin")?), Some(1)),
                }
            }
            Some(path) => {
                let mut lines = BufReader::new(File::open(path).with_context(|| format!("cannot open {path}"))?);
                let first = read_line(&mut lines)?.ok_or_else(|| anyhow!("{path} is empty"))?;
                match is_json(&first) {
                    true => {
                        lines.seek(SeekFrom::Start(0)).with_context(|| format!("cannot read {path}"))?;
                        (Source::File(lines), None)
                    }
                    false => (Source::Single(single(first, lines).with_context(|| path.to_owned())?), Some(1)),
                }
            }
        };
        Ok(Self { source, left: count.or(each_once) })
    }

    /// How many there will be, where that is known.
    pub(super) fn expected(&self) -> Option<u64> {
        self.left
    }

    fn read(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        match &mut self.source {
            Source::Samples => Ok(Some(sample())),
            Source::Single(body) => Ok(Some(body.clone())),
            Source::Pipe(first, lines) => match first.take() {
                Some(first) => Ok(Some(first)),
                None => read_line(lines),
            },
            Source::File(lines) => match read_line(lines)? {
                None if self.left.is_some() => {
                    lines.seek(SeekFrom::Start(0))?;
                    read_line(lines)
                }
                line => Ok(line),
            },
        }
    }
}

impl Iterator for Webhooks {
    type Item = anyhow::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == Some(0) {
            return None;
        }
        self.left = self.left.map(|left| left - 1);
        match self.read() {
            Ok(body) => body.map(unwrap_exported),
            Err(error) => {
                self.left = Some(0);
                Some(Err(error))
            }
        }
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// The next line that is not blank, without its end.
fn read_line(lines: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    loop {
        let mut line = Vec::new();
        if lines.take(LONGEST).read_until(b'\n', &mut line).context("cannot read")? == 0 {
            return Ok(None);
        }
        let body = line.trim_ascii();
        if !body.is_empty() {
            return Ok(Some(body.to_vec()));
        }
    }
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(line).is_ok()
}

/// A value that begins with that line and goes on to the end.
fn single(first: Vec<u8>, mut rest: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut body = first;
    body.push(b'\n');
    rest.by_ref().take(LONGEST).read_to_end(&mut body).context("cannot read")?;
    let body = body.trim_ascii().to_vec();
    serde_json::from_slice::<&RawValue>(&body).context("neither JSON nor JSON Lines")?;
    Ok(body)
}

/// The body within an exported dead letter; any other line is a body itself.
fn unwrap_exported(line: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    match serde_json::from_slice::<Exported>(&line) {
        Ok(exported) => base64::prelude::BASE64_STANDARD.decode(exported.body).context("the body is no base64"),
        Err(_) => Ok(line),
    }
}

/// An `entity.created` as Lean sends it, for a bank link that nobody has seen before.
fn sample() -> Vec<u8> {
    let webhook = serde_json::json!({
        "type": "entity.created",
        "message": "An entity object has been created.",
        "payload": {
            "id": Uuid::new_v4(),
            "customer_id": Uuid::new_v4(),
            "permissions": ["transactions", "balance", "identity", "accounts"],
            "bank_details": {
                "name": "Lean Mock Bank", "identifier": "LEANMB2", "logo": "",
                "main_color": "#1beb75", "background_color": "#001E26",
            },
        },
        "timestamp": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
        "event_id": Uuid::new_v4(),
    });
    webhook.to_string().into_bytes()
}

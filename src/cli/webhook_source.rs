//! The webhooks that `banklink send` posts: read from a file or stdin, or generated.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};

use anyhow::{Context, anyhow};
use base64::Engine;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// Maximum bytes of a line, or of a value on several lines. No ingress accepts as much.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// An iterator over the bodies to post.
pub(super) struct WebhookSource {
    input: Input,
    /// How many bodies remain; `None`: all of the input.
    pub(super) remaining: Option<u64>,
}

enum Input {
    /// Generated webhooks, each for a new bank link.
    Samples,
    /// One JSON value on several lines.
    Single(Vec<u8>),
    /// One JSON value per line, and the path to read again.
    Lines(Box<dyn BufRead + Send>, Option<String>),
}

/// A line written by `dead-letters export`.
#[derive(Deserialize)]
struct Exported {
    #[serde(rename = "message_id")]
    _message_id: Uuid,
    body: String,
}

impl WebhookSource {
    /// Opens the file at `path`, stdin for `-`, or samples for `None`. Yields `count` bodies: a file is read again when it
    /// ends, stdin is not. Without `count`, yields each body once, or one sample.
    ///
    /// Fails if the input cannot be read, is empty, or begins with anything but JSON.
    pub(super) fn open(path: Option<&str>, count: Option<u64>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { input: Input::Samples, remaining: count.or(Some(1)) });
        };
        let (mut lines, name, path): (Box<dyn BufRead + Send>, _, _) = match path {
            "-" => (Box::new(BufReader::new(std::io::stdin())), "stdin", None),
            path => (open_file(path)?, path, Some(path.to_owned())),
        };
        let first = read_line(&mut lines)?.ok_or_else(|| anyhow!("{name} is empty"))?;
        if serde_json::from_slice::<&RawValue>(&first).is_ok() {
            let lines = Cursor::new(first).chain(b"\n".as_slice()).chain(lines);
            return Ok(Self { input: Input::Lines(Box::new(lines), path), remaining: count });
        }
        let body = read_single(first, lines).with_context(|| name.to_owned())?;
        Ok(Self { input: Input::Single(body), remaining: count.or(Some(1)) })
    }

    fn read(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let (lines, path) = match &mut self.input {
            Input::Samples => return Ok(Some(sample())),
            Input::Single(body) => return Ok(Some(body.clone())),
            Input::Lines(lines, path) => (lines, path),
        };
        match (read_line(lines)?, path) {
            (None, Some(path)) if self.remaining.is_some() => {
                *lines = open_file(path)?;
                read_line(lines)
            }
            (line, _) => Ok(line),
        }
    }
}

impl Iterator for WebhookSource {
    type Item = anyhow::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == Some(0) {
            return None;
        }
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        match self.read() {
            Ok(body) => body.map(unwrap_exported),
            Err(error) => {
                self.remaining = Some(0);
                Some(Err(error))
            }
        }
    }
}

fn open_file(path: &str) -> anyhow::Result<Box<dyn BufRead + Send>> {
    Ok(Box::new(BufReader::new(File::open(path).with_context(|| format!("cannot open {path}"))?)))
}

/// The next line that is not blank, trimmed.
fn read_line(lines: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    loop {
        let mut line = Vec::new();
        if lines.take(MAX_BYTES).read_until(b'\n', &mut line).context("cannot read")? == 0 {
            return Ok(None);
        }
        let body = line.trim_ascii();
        if !body.is_empty() {
            return Ok(Some(body.to_vec()));
        }
    }
}

/// The JSON value that begins with the line `first` and ends with the input.
fn read_single(first: Vec<u8>, rest: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut body = first;
    body.push(b'\n');
    rest.take(MAX_BYTES).read_to_end(&mut body).context("cannot read")?;
    let body = body.trim_ascii().to_vec();
    serde_json::from_slice::<&RawValue>(&body).context("neither JSON nor JSON Lines")?;
    Ok(body)
}

/// The body of an exported dead letter. Any other line is a body itself.
fn unwrap_exported(line: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    match serde_json::from_slice::<Exported>(&line) {
        Ok(exported) => base64::prelude::BASE64_STANDARD.decode(exported.body).context("the body is not base64"),
        Err(_) => Ok(line),
    }
}

/// An `entity.created` as Lean sends it, for a new bank link.
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

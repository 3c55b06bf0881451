//! The webhooks that `banklink send` posts: read from a file or stdin, or generated.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};

use anyhow::{Context, anyhow};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::webhook_formats::{Forms, unwrap};

/// Maximum bytes of a line, or of a value on several lines. No ingress accepts as much.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// An iterator over the bodies to post.
pub(super) struct WebhookSource {
    input: Input,
    /// The bodies of the value that was read last, the next one last.
    ready: Vec<Vec<u8>>,
    /// How many bodies remain; `None`: all of the input.
    pub(super) remaining: Option<u64>,
    /// What the input holds; `None` for samples.
    pub(super) forms: Option<Forms>,
}

enum Input {
    /// Generated webhooks, each for a new bank link.
    Samples,
    /// JSON values on lines of their own, or one value on several lines.
    Values { file: BufReader<File>, layout: Layout },
}

#[derive(Clone, Copy)]
enum Layout {
    Lines,
    Single,
}

impl WebhookSource {
    /// Opens the file at `path`, stdin for `-`, or samples for `None`. Yields `count` bodies and begins again when the input ends;
    /// without `count`, yields each body once, or one sample.
    ///
    /// All of the input is read and checked before the first body is posted.
    ///
    /// # Errors
    /// If the input cannot be read, is empty, is neither JSON nor JSON Lines, or holds anything that is not a webhook.
    pub(super) fn open(path: Option<&str>, count: Option<u64>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { input: Input::Samples, ready: Vec::new(), remaining: count.or(Some(1)), forms: None });
        };
        let (mut file, name) = match path {
            "-" => (spooled(std::io::stdin())?, "stdin"),
            path => (File::open(path).with_context(|| format!("cannot open {path}"))?, path),
        };
        if file.rewind().is_err() {
            file = spooled(file)?; // a pipe
        }
        let mut file = BufReader::new(file);
        let layout = layout(&mut file).with_context(|| name.to_owned())?;
        file.rewind()?;
        let mut input = Input::Values { file, layout };
        let forms = check(&mut input).with_context(|| format!("{name}; nothing was sent"))?;
        if forms.webhooks == 0 {
            return Err(anyhow!("{name} is empty"));
        }
        input.rewind()?;
        Ok(Self { input, ready: Vec::new(), remaining: count, forms: Some(forms) })
    }

    fn read(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut begun_again = false;
        while self.ready.is_empty() {
            match self.input.next_value()? {
                Some(value) => {
                    self.ready = unwrap(parse(&value)?, &mut Forms::default())?;
                    self.ready.reverse();
                }
                None if self.remaining.is_some() && !begun_again => {
                    begun_again = true;
                    self.input.rewind()?;
                }
                None => return Ok(None),
            }
        }
        Ok(self.ready.pop())
    }
}

impl Iterator for WebhookSource {
    type Item = anyhow::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == Some(0) {
            return None;
        }
        let next = self.read().transpose();
        // An error ends the input.
        let remaining = self.remaining.map(|remaining| remaining.saturating_sub(1));
        self.remaining = if matches!(next, Some(Err(_))) { Some(0) } else { remaining };
        next
    }
}

impl Input {
    /// The next JSON value, trimmed.
    fn next_value(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Samples => Ok(Some(sample())),
            Self::Values { file, layout: Layout::Lines } => read_line(file),
            Self::Values { file, layout: Layout::Single } => read_all(file),
        }
    }

    fn rewind(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Samples => Ok(()),
            Self::Values { file, .. } => Ok(file.rewind()?),
        }
    }
}

/// A temporary file with what `input` holds, because the input is read twice. It has no name, so nothing is left behind.
fn spooled(mut input: impl Read) -> anyhow::Result<File> {
    let mut file = tempfile::tempfile().context("cannot create a temporary file")?;
    std::io::copy(&mut input, &mut file).context("cannot read")?;
    file.rewind()?;
    Ok(file)
}

/// JSON Lines if the first line is a JSON value.
fn layout(file: &mut BufReader<File>) -> anyhow::Result<Layout> {
    let first = read_line(file)?.context("empty")?;
    Ok(if parse(&first).is_ok() { Layout::Lines } else { Layout::Single })
}

/// Takes all of the input apart. Fails at the first value that is not a webhook or a known wrapper.
fn check(input: &mut Input) -> anyhow::Result<Forms> {
    let mut forms = Forms::default();
    let mut number = 0;
    while let Some(value) = input.next_value()? {
        number += 1;
        parse(&value).and_then(|value| unwrap(value, &mut forms)).with_context(|| format!("JSON value {number}"))?;
    }
    Ok(forms)
}

fn parse(value: &[u8]) -> anyhow::Result<&RawValue> {
    serde_json::from_slice(value).context("neither JSON nor JSON Lines")
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

/// The rest of the input, trimmed; `None` at its end.
fn read_all(input: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    input.take(MAX_BYTES).read_to_end(&mut value).context("cannot read")?;
    let value = value.trim_ascii().to_vec();
    Ok((!value.is_empty()).then_some(value))
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

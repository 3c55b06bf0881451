//! The documents pass the validators that their readers use: AsyncAPI's parser, and spectral's rules.

use std::path::Path;

use rstest::rstest;
use testkit::tool::find_tool;
use testkit::waiting::named_within;
use tokio::process::Command;

use super::printed;

/// Prints each diagnostic of the document in the file that it is called with, except information and hints.
const PARSE: &str = "
const { Parser } = require('@asyncapi/parser');
new Parser().parse(require('node:fs').readFileSync(process.argv[1], 'utf8')).then(({ document, diagnostics }) => {
  const found = diagnostics.filter(({ severity }) => severity < 2);
  for (const { path, message } of found) console.log(path.join('.') + ': ' + message);
  process.exit(document && found.length === 0 ? 0 : 1);
});";

/// Writes a document into a directory, beside the rules for spectral.
async fn write(directory: &Path, document: &str) -> String {
    std::fs::write(directory.join(".spectral.yaml"), rules(document)).unwrap();
    let path = directory.join(format!("{document}.json"));
    std::fs::write(&path, printed(document, &[]).await).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Every rule but the one that asks for a contact: the document is about the reader's own installation.
fn rules(document: &str) -> &'static str {
    match document {
        "openapi" => "extends: ['spectral:oas']\nrules: { info-contact: off }\n",
        _ => "extends: ['spectral:asyncapi']\nrules: { asyncapi-info-contact: off }\n",
    }
}

async fn assert_passes(what: &str, command: &mut Command) {
    let output = named_within(what, command.output()).await.unwrap();
    let (found, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {found}{errors}");
}

#[tokio::test]
async fn the_parser_of_asyncapi_finds_nothing_wrong() {
    let (Some(node), Some(modules)) = (find_tool("node").await, find_tool("asyncapi-parser").await) else {
        eprintln!("skipped: Node or @asyncapi/parser cannot be installed");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "asyncapi").await;
    assert_passes("@asyncapi/parser", Command::new(node).args(["-e", PARSE, &path]).env("NODE_PATH", modules)).await;
}

#[rstest]
#[tokio::test]
async fn spectral_finds_nothing_wrong(#[values("asyncapi", "openapi")] document: &str) {
    let (Some(node), Some(spectral)) = (find_tool("node").await, find_tool("spectral").await) else {
        eprintln!("skipped: Node or spectral cannot be installed");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), document).await;
    let mut lint = Command::new(node);
    lint.arg(spectral).args(["lint", "--fail-severity", "warn", "--verbose", &path]).current_dir(directory.path());
    assert_passes("spectral", &mut lint).await;
}

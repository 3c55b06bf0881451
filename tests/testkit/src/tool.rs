//! Programs that tests run beside banklink.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::repository;

/// The path of a program that `tests/tool` knows, which installs it first if it is missing.
///
/// # Panics
/// If it cannot be installed; the script has said why.
pub async fn tool(name: &str) -> PathBuf {
    // Without a deadline: it may download much.
    let called = Command::new(repository().join("tests/tool")).arg(name).stderr(Stdio::inherit()).output().await;
    let output = called.expect("tests/tool can be run");
    assert!(output.status.success(), "tests/tool {name} failed; its messages are above");
    String::from_utf8(output.stdout).expect("a path").trim().into()
}

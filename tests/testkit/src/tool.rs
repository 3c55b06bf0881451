//! Programs that tests run beside banklink.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::repository;

/// The path of a program that `tests/tool` knows, which installs it first if it is missing.
///
/// # Panics
/// If it cannot be installed; the script has said why.
pub async fn tool(name: &str) -> PathBuf {
    find_tool(name).await.unwrap_or_else(|| panic!("tests/tool {name} failed; its messages are above"))
}

/// As [`tool`]; `None` if it cannot be installed. Its caller then says on stderr what is not checked, and returns. Its name is appended to
/// the file `BANKLINK_MISSING_TOOLS`, if that is set.
///
/// # Panics
/// If it cannot be installed, and `BANKLINK_TOOLS` is `required`: the output of a test that passes is not shown, and what it has left out
/// would go unnoticed.
pub async fn find_tool(name: &str) -> Option<PathBuf> {
    // Without a deadline: it may download much.
    let called = Command::new(repository().join("tests/tool")).arg(name).stderr(Stdio::inherit()).output().await;
    let output = called.expect("tests/tool can be run");
    let path = String::from_utf8(output.stdout).expect("a path");
    let found = output.status.success();
    if !found && let Some(list) = std::env::var_os("BANKLINK_MISSING_TOOLS") {
        let list = OpenOptions::new().append(true).open(list);
        list.and_then(|mut list| writeln!(list, "{name}")).expect("the list of missing tools can be written");
    }
    let required = std::env::var_os("BANKLINK_TOOLS").is_some_and(|value| value == "required");
    assert!(found || !required, "BANKLINK_TOOLS=required, but tests/tool {name} failed; its messages are above");
    found.then(|| path.trim().into())
}

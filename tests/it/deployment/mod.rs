//! What deploys banklink: health checks, the image, systemd units, the Helm chart, a reverse proxy, and the manual.

mod compose;
mod probe;
mod systemd;

use std::path::PathBuf;

use testkit::tool::find_tool;
use testkit::waiting::within;
use tokio::process::Command;

/// The standard output of a tool that `tests/tool` knows, which has to succeed. `None`, with a message, if it cannot be had.
async fn run_tool(name: &str, arguments: &[&str]) -> Option<String> {
    let output = within(tool_command(name).await?.args(arguments).output()).await.expect("the tool runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {arguments:?}:\n{stdout}\n{stderr}");
    Some(stdout.into_owned())
}

/// A call of a tool in the root of the repository. `None`, with a message, if it cannot be had.
async fn tool_command(name: &str) -> Option<Command> {
    let Some(path) = find_tool(name).await else {
        eprintln!("NOT CHECKED: tests/tool cannot provide {name}");
        return None;
    };
    let mut command = Command::new(path);
    command.current_dir(testkit::repository()).stdin(std::process::Stdio::null());
    Some(command)
}

/// A file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn file(path: &str) -> PathBuf {
    testkit::repository().join(path)
}

//! What deploys banklink: health checks, the image, systemd units, the Helm chart, a reverse proxy, and the manual.

mod compose;
mod grafana;
mod helm;
mod helm_values;
mod nginx;
mod nginx_console;
mod operations;
mod probe;
mod release;
mod systemd;
mod upgrade;

use std::path::PathBuf;

use serde_json::Value;
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

/// The documents in a YAML text, as the Python of the tool `check-jsonschema` reads them. `None` if it cannot be had.
async fn yaml_documents(text: &str) -> Option<Vec<Value>> {
    let python = find_tool("check-jsonschema").await?.with_file_name("python3");
    let source = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(source.path(), text).expect("written");
    let script = "import json, sys; from ruamel.yaml import YAML; \
                  print(json.dumps([d for d in YAML(typ='safe').load_all(open(sys.argv[1])) if d], default=str))";
    let output =
        within(Command::new(python).args(["-c", script]).arg(source.path()).output()).await.expect("Python runs");
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).ok()
}

/// A file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn file(path: &str) -> PathBuf {
    testkit::repository().join(path)
}

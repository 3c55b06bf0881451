//! The program itself, as a process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::waiting::{eventually, http_client, within};

/// How much of a process's log is shown when a test fails.
const LOG_BYTES: usize = 8 * 1024;

/// The program with arguments, and an environment in which no setting is set.
pub(crate) fn banklink(arguments: &[&str]) -> Invocation {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Invocation { arguments, environment: BTreeMap::new(), input: None, limit: None }
}

/// How the program is called.
pub(crate) struct Invocation {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    input: Option<Vec<u8>>,
    limit: Option<&'static str>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Invocation {
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Under a limit, in the words of bash's ulimit.
    pub(crate) fn limited(self, ulimit: &'static str) -> Self {
        Self { limit: Some(ulimit), ..self }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banklink"));
        if let Some(limit) = self.limit {
            command = Command::new("bash");
            command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_banklink")]);
        }
        command.args(&self.arguments).env_clear().envs(&self.environment).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Outcome {
        let mut command = self.command();
        let input = self.input.as_ref().map_or_else(Stdio::null, |_| Stdio::piped());
        let mut child =
            command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut stdin, &input).await });
        }
        let output = within(child.wait_with_output()).await.expect("its output");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Starts it and lets it run.
    pub(crate) fn start(self) -> Running {
        let log = tempfile::NamedTempFile::new().expect("a log").into_temp_path();
        let file = std::fs::File::create(&log).expect("a log");
        let stdout = file.try_clone().expect("a log");
        let child =
            self.command().stdin(Stdio::null()).stdout(stdout).stderr(file).spawn().expect("the program starts");
        Running { child, log: log.to_path_buf(), _log: log }
    }
}

/// A process that runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    _log: tempfile::TempPath,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// How many of its threads have that name.
    pub(crate) fn threads(&self, name: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM; the exit status.
    pub(crate) async fn terminate(&mut self) -> i32 {
        self.tell_to_terminate().await;
        self.ended().await
    }

    /// SIGTERM, and no waiting.
    pub(crate) async fn tell_to_terminate(&self) {
        self.signal("TERM").await;
    }

    /// Ctrl-C; the exit status.
    pub(crate) async fn interrupt(&mut self) -> i32 {
        self.signal("INT").await;
        self.ended().await
    }

    async fn signal(&self, name: &str) {
        let told = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().await.expect("kill");
        assert!(told.success());
    }

    /// Waits for its end; the exit status, or -1 for a signal.
    pub(crate) async fn ended(&mut self) -> i32 {
        within(self.child.wait()).await.expect("ended").code().unwrap_or(-1)
    }

    /// Waits until the log tells an address with that message, and returns it.
    async fn address(&self, message: &str) -> String {
        eventually(message, async || {
            let log = self.log();
            let told = log.lines().find(|line| line.contains(message))?;
            match serde_json::from_str::<Value>(told) {
                Ok(line) => line["listen"].as_str().map(str::to_owned),
                Err(_) => Some(told.split_once("listen=")?.1.split_whitespace().next()?.to_owned()),
            }
        })
        .await
    }

    /// Where it answers probes.
    pub(crate) async fn admin(&self) -> String {
        self.address("probes and metrics").await
    }

    /// Where it takes webhooks in.
    pub(crate) async fn url(&self) -> String {
        format!("http://{}/webhooks/lean", self.address("taking webhooks in at /webhooks/lean").await)
    }

    /// Waits until the log says that.
    pub(crate) async fn until_log(&self, what: &str) {
        eventually(&format!("{what:?} in the log"), async || self.log().contains(what).then_some(())).await;
    }
}

impl Drop for Running {
    /// A test that fails shows what the process had to say.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.ceil_char_boundary(log.len().saturating_sub(LOG_BYTES));
            eprintln!("the end of the log of process {:?}:\n{}", self.child.id(), &log[from..]);
        }
    }
}

/// Waits until a probe answers with that status; its body.
pub(crate) async fn until_answers(admin: &str, path: &str, status: u16) -> Value {
    let (client, url) = (http_client(), format!("http://{admin}{path}"));
    eventually(&format!("{status} from {path}"), async || {
        let response = client.get(&url).send().await.ok().filter(|response| response.status() == status)?;
        Some(serde_json::from_slice(&response.bytes().await.ok()?).unwrap_or_default())
    })
    .await
}

/// The value of a metric, labels included in its name.
pub(crate) async fn metric(admin: &str, name: &str) -> Option<f64> {
    let text = http_client().get(format!("http://{admin}/metrics")).send().await.ok()?.text().await.ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

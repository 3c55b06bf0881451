//! The program, run as a process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::http;
use crate::waiting::{eventually, named_within, until, within};

/// How much of a process's log is printed when a test fails.
const LOG_BYTES: usize = 8 * 1024;

/// The program under test: as Cargo or nextest name it, else in the directory above that of the test program.
#[must_use]
pub fn program() -> PathBuf {
    let named = |variable| std::env::var_os(variable).map(PathBuf::from);
    named("CARGO_BIN_EXE_banklink").or_else(|| named("NEXTEST_BIN_EXE_banklink")).unwrap_or_else(|| {
        let test = std::env::current_exe().expect("the path of the test program");
        test.ancestors().nth(2).expect("a target directory").join("banklink")
    })
}

/// A call of the program with `arguments` and an empty environment.
pub fn banklink(arguments: &[&str]) -> Invocation {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Invocation { program: program(), arguments, environment: BTreeMap::new(), input: None, limit: None }
}

/// A call of the program that is being prepared.
#[must_use]
pub struct Invocation {
    program: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    input: Option<Vec<u8>>,
    limit: Option<&'static str>,
}

/// The result of a finished call.
#[derive(Debug)]
pub struct Output {
    /// The exit status; -1 if a signal ended the process.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Invocation {
    /// Calls another version of the program.
    pub fn of(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Listens on free ports, which the log names.
    pub fn on_free_ports(self) -> Self {
        ["BANKLINK_LISTEN", "BANKLINK_ADMIN_LISTEN", "BANKLINK_API_LISTEN", "BANKLINK_CONSOLE_LISTEN"]
            .into_iter()
            .fold(self, |invocation, variable| invocation.env(variable, "127.0.0.1:0"))
    }

    /// Divides the long deadlines of RabbitMQ and the database, so that the test need not wait for all of them.
    pub fn short_deadlines(self) -> Self {
        self.env("BANKLINK_DEADLINE_DIVISOR", "5")
    }

    /// Sets standard input for [`Invocation::run`].
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Sets a resource limit, as arguments of bash's `ulimit`.
    pub fn limited(self, ulimit: &'static str) -> Self {
        Self { limit: Some(ulimit), ..self }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(limit) = self.limit {
            command = Command::new("bash");
            command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]).arg(&self.program);
        }
        command.args(&self.arguments).env_clear().envs(&self.environment).kill_on_drop(true);
        command
    }

    /// Runs the program to its end.
    pub async fn run(self) -> Output {
        let mut command = self.command();
        let input = self.input.as_ref().map_or_else(Stdio::null, |_| Stdio::piped());
        let mut child =
            command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut stdin, &input).await });
        }
        let what = format!("{:?}", command.as_std().get_args());
        let output = named_within(&what, child.wait_with_output()).await.expect("the output of the program");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Starts the program and returns at once.
    #[must_use]
    pub fn start(self) -> Running {
        let log = tempfile::NamedTempFile::new().expect("a log file").into_temp_path();
        let file = std::fs::File::create(&log).expect("a log file");
        let stdout = file.try_clone().expect("a log file");
        let child =
            self.command().stdin(Stdio::null()).stdout(stdout).stderr(file).spawn().expect("the program starts");
        Running { child, log }
    }
}

/// A running process. Dropping it kills it.
pub struct Running {
    child: Child,
    log: tempfile::TempPath,
}

impl Running {
    /// Everything the process has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// The number of its threads with that name.
    #[must_use]
    pub fn threads(&self, name: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the threads of the process");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Sends SIGTERM and returns the exit status.
    pub async fn terminate(&mut self) -> i32 {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Sends SIGINT and returns the exit status.
    pub async fn interrupt(&mut self) -> i32 {
        self.signal("INT").await;
        self.ended().await
    }

    /// Sends a signal and does not wait.
    pub async fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().await.expect("kill");
        assert!(kill.success());
    }

    /// Waits for the end and returns the exit status, or -1 if a signal ended the process.
    pub async fn ended(&mut self) -> i32 {
        within(self.child.wait()).await.expect("an exit status").code().unwrap_or(-1)
    }

    /// The address that the log line with `message` names, in either log format.
    pub async fn address(&self, message: &str) -> String {
        eventually(message, async || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(message))?;
            match serde_json::from_str::<Value>(line) {
                Ok(line) => line["listen"].as_str().map(str::to_owned),
                Err(_) => Some(line.split_once("listen=")?.1.split_whitespace().next()?.to_owned()),
            }
        })
        .await
    }

    /// The address of its probes and metrics, once it listens.
    pub async fn admin(&self) -> String {
        self.address("serving probes and metrics").await
    }

    /// The address of its read API, once it listens.
    pub async fn api(&self) -> String {
        self.address("answering at /v1").await
    }

    /// The URL that it takes webhooks at, once it listens.
    pub async fn url(&self) -> String {
        format!("http://{}/webhooks/lean", self.address("accepting webhooks at /webhooks/lean").await)
    }

    /// The memory that it occupies now, in MB.
    #[must_use]
    pub fn resident_megabytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        kibibytes.and_then(|text| text.trim().parse::<u64>().ok()).expect("VmRSS") * 1024 / 1_000_000
    }

    /// Waits until the log contains `text`.
    pub async fn until_log(&self, text: &str) {
        until(&format!("{text:?} in the log"), async || self.log().contains(text)).await;
    }
}

impl Drop for Running {
    /// Prints the end of the log if the test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.ceil_char_boundary(log.len().saturating_sub(LOG_BYTES));
            eprintln!("the end of the log of process {:?}:\n{}", self.child.id(), &log[from..]);
        }
    }
}

/// Polls a probe until it answers with `status`; returns the body.
pub async fn until_answers(admin: &str, path: &str, status: u16) -> Value {
    let (client, url) = (http::client(), format!("http://{admin}{path}"));
    eventually(&format!("{status} from {path}"), async || {
        let response = client.get(&url).send().await.ok().filter(|response| response.status() == status)?;
        Some(serde_json::from_slice(&response.bytes().await.ok()?).unwrap_or_default())
    })
    .await
}

/// The value of a metric; `name` includes the labels.
pub async fn metric(admin: &str, name: &str) -> Option<f64> {
    let text = http::client().get(format!("http://{admin}/metrics")).send().await.ok()?.text().await.ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

//! The fleet: several instances of each role. Each gets a new process when the old one has ended, and every exit that was not
//! requested is recorded.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::instance::Instance;

/// How long after its end a process is replaced.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// How long a process may take to end after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(40);

pub(crate) struct Fleet {
    instances: Vec<Arc<Instance>>,
    /// The directory of the logs: one file per process.
    logs: PathBuf,
    unexpected_exits: Mutex<Vec<String>>,
    /// Whether processes with a worker may abort: a message that aborts them has been sent.
    aborts_expected: AtomicBool,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Fleet {
    pub(crate) fn new(instances: Vec<Instance>, logs: &Path) -> Arc<Self> {
        Arc::new(Self {
            instances: instances.into_iter().map(Arc::new).collect(),
            logs: logs.to_path_buf(),
            unexpected_exits: Mutex::default(),
            aborts_expected: AtomicBool::new(false),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Starts a process for each instance.
    pub(crate) fn start(self: &Arc<Self>) {
        for instance in &self.instances {
            self.tasks.spawn(Arc::clone(self).supervise(Arc::clone(instance)));
        }
    }

    /// Where webhooks can be posted at the moment.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.instances.iter().filter_map(|instance| instance.url()).collect()
    }

    pub(crate) fn with_role(&self, role: &str) -> Vec<&Arc<Instance>> {
        self.instances.iter().filter(|instance| instance.has_role(role)).collect()
    }

    /// How many lines of all logs contain `text`.
    pub(crate) fn count_log_lines(&self, text: &str) -> std::io::Result<usize> {
        let mut count = 0;
        for entry in std::fs::read_dir(&self.logs)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = std::fs::read(path)?;
                count += String::from_utf8_lossy(&log).lines().filter(|line| line.contains(text)).count();
            }
        }
        Ok(count)
    }

    /// From now on, a process with a worker may end by SIGABRT.
    pub(crate) fn expect_aborts(&self) {
        self.aborts_expected.store(true, Ordering::Relaxed);
    }

    /// Stops every process with SIGTERM. Returns the exits that were not requested, and the processes that did not stop as they
    /// should.
    pub(crate) async fn stop(&self) -> Vec<String> {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(&mut *self.unexpected_exits.lock().expect("not poisoned"))
    }

    async fn supervise(self: Arc<Self>, instance: Arc<Instance>) {
        for number in 1_u32.. {
            let process = format!("{}.{number}", instance.name);
            let log = self.logs.join(format!("{process}.log"));
            let mut child = instance.start(&log);
            tokio::select! {
                status = child.wait() => self.check_exit(&instance, &process, status.ok()),
                () = instance.watch_log(&log) => {}
                () = instance.kill.notified() => {
                    instance.set_url(None);
                    let _ = child.kill().await;
                }
                () = self.stop.cancelled() => {
                    instance.set_url(None);
                    return self.terminate(&process, &mut child).await;
                }
            }
            instance.set_url(None);
            if self.stop.run_until_cancelled(tokio::time::sleep(RESTART_DELAY)).await.is_none() {
                return;
            }
        }
    }

    fn check_exit(&self, instance: &Instance, process: &str, status: Option<ExitStatus>) {
        let aborted = status.is_some_and(|status| status.signal() == Some(Signal::ABORT.as_raw()));
        let may_abort = self.aborts_expected.load(Ordering::Relaxed) && instance.has_role("worker");
        if !(aborted && may_abort) {
            self.record_unexpected(format!("process {process} ended on its own: {status:?}"));
        }
    }

    async fn terminate(&self, process: &str, child: &mut Child) {
        let Some(pid) = child.id() else { return };
        let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
        match tokio::time::timeout(DRAIN_TIMEOUT, child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(status) => self.record_unexpected(format!("process {process} ended with {status:?} after SIGTERM")),
            Err(_) => {
                self.record_unexpected(format!("process {process} did not end within {DRAIN_TIMEOUT:?} of SIGTERM"));
            }
        }
    }

    fn record_unexpected(&self, exit: String) {
        self.unexpected_exits.lock().expect("not poisoned").push(exit);
    }
}

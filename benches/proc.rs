//! The processor time that processes have used, from `/proc`. Unlike a rate it hardly depends on what else the machine does.

use std::path::Path;

use anyhow::{Context, Result};
use url::Url;

use crate::endpoints::Endpoints;
use crate::report::Figure;

/// The kernel counts in hundredths of a second, for programs on every architecture that banklink runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc/PID/stat` says about a process.
struct Stat {
    parent: u32,
    /// Used by the process itself, and by those of its children that have ended, in ticks.
    ticks: u64,
}

/// Processor time per webhook, in microseconds. RabbitMQ's and PostgreSQL's are NaN if they run on another machine, or for another user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) own: f64,
    pub(crate) rabbitmq: f64,
    pub(crate) postgres: f64,
}

/// Measures the processor time of a process and of the servers from its creation on.
pub(crate) struct Meter {
    /// Each process, and what it had used before: the measured one, RabbitMQ, PostgreSQL.
    processes: [Option<(u32, f64)>; 3],
}

impl Meter {
    pub(crate) fn start(own: u32, endpoints: &Endpoints) -> Self {
        let port = |url: &str| Url::parse(url).ok()?.port();
        let server = |url: &str| port(url).and_then(|port| listener(port).ok());
        let processes = [Some(own), server(&endpoints.direct.amqp), server(endpoints.direct.postgres.as_str())];
        Self { processes: processes.map(|pid| pid.map(|pid| (pid, cpu_seconds(pid)))) }
    }

    /// The processor time since then, divided by the number of webhooks that were handled meanwhile.
    pub(crate) fn per_webhook(&self, webhooks: usize) -> Cpu {
        let [own, rabbitmq, postgres] = self.processes.map(|process| {
            process.map_or(f64::NAN, |(pid, before)| (cpu_seconds(pid) - before) * 1e6 / webhooks as f64)
        });
        Cpu { own, rabbitmq, postgres }
    }
}

/// One figure for each process, compared with the ceiling.
pub(crate) fn figures(name: &str, banklink: &[Cpu], ceiling: &[Cpu]) -> Vec<Figure> {
    let figure = |whose: &str, part: fn(&Cpu) -> f64| {
        let values = |of: &[Cpu]| of.iter().map(part).collect::<Vec<_>>();
        Figure::new(format!("{name}, {whose} CPU"), "µs", values(banklink)).compared_to("ceiling", values(ceiling))
    };
    let figures = [
        figure("own", |cpu| cpu.own),
        figure("RabbitMQ's", |cpu| cpu.rabbitmq),
        figure("PostgreSQL's", |cpu| cpu.postgres),
    ];
    figures.into_iter().filter(|figure| figure.values.iter().all(|value| *value > 0.0)).collect()
}

/// Seconds that the process and its descendants have used so far.
fn cpu_seconds(pid: u32) -> f64 {
    let processes: Vec<(u32, Stat)> = pids().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let (mut tree, mut index, mut ticks) = (vec![pid], 0, 0);
    while let Some(pid) = tree.get(index).copied() {
        tree.extend(processes.iter().filter(|(_, stat)| stat.parent == pid).map(|(child, _)| *child));
        ticks += processes.iter().find(|(other, _)| *other == pid).map_or(0, |(_, stat)| stat.ticks);
        index += 1;
    }
    ticks as f64 / TICKS_PER_SECOND
}

/// The process that listens on this TCP port of 127.0.0.1. Only root can see the processes of other users.
fn listener(port: u16) -> Result<u32> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let inode = sockets.iter().flat_map(|table| table.lines().skip(1)).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_listening = fields.get(3) == Some(&"0A");
        (is_listening && fields.get(1)?.ends_with(&format!(":{port:04X}"))).then(|| fields.get(9).copied()).flatten()
    });
    let inode = inode.with_context(|| format!("nothing on this machine listens on port {port}"))?;
    let socket = format!("socket:[{inode}]");
    let owns = |pid: &u32| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .into_iter()
            .any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|target| target == Path::new(&socket)))
    };
    pids().find(owns).with_context(|| format!("cannot see which process listens on port {port}; try as root"))
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `None` if the process has ended.
fn stat(pid: u32) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = (11..15).map(number).sum::<Option<u64>>()?;
    Some(Stat { parent: number(1)?.try_into().ok()?, ticks })
}

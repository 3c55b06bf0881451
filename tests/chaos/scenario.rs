//! What is tested: the scenarios, the processes of each, and the faults that are injected into it.

use clap::ValueEnum;

/// The servers and processes that a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// One RabbitMQ, PostgreSQL, several processes of each role.
    Postgres,
    /// A RabbitMQ cluster of three nodes, PostgreSQL, several processes of each role.
    Cluster,
    /// One RabbitMQ, SQLite, one process with every role.
    Sqlite,
}

/// How much of a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Quick,
    Full,
}

/// A failure that lasts for a while and is then repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    KillIngress,
    KillWorker,
    KillRelay,
    CrashLoop,
    RabbitmqRestart,
    RabbitmqKill,
    MemoryAlarm,
    ConnectionsClosed,
    QueueDeleted,
    NodeKill,
    LeaderKill,
    PostgresRestart,
    PostgresKill,
    BackendsTerminated,
    StatementsCancelled,
    StatementTimeout,
    TablesLocked,
    DiskFull,
    Deadlocks,
    SerializationFailures,
    SqliteLocked,
    NetworkCut,
    NetworkHalfOpen,
    NetworkSlow,
    NetworkTorn,
}

use Fault::*;

impl Scenario {
    /// The processes, each with a name and its roles; no role means all.
    pub(crate) fn processes(self) -> Vec<(&'static str, &'static [&'static str])> {
        let roles: [(&str, &[&str], usize); 3] =
            [("ingress", &["ingress"], 3), ("worker", &["worker"], 3), ("relay", &["relay"], 2)];
        match self {
            Self::Sqlite => vec![("all", &[])],
            Self::Postgres | Self::Cluster => {
                roles.into_iter().flat_map(|(name, roles, count)| vec![(name, roles); count]).collect()
            }
        }
    }

    /// The faults of a full run, apart from the kills of processes.
    pub(crate) fn faults(self) -> Vec<Fault> {
        match self {
            Self::Postgres => vec![
                RabbitmqRestart,
                RabbitmqKill,
                MemoryAlarm,
                ConnectionsClosed,
                QueueDeleted,
                PostgresRestart,
                PostgresKill,
                BackendsTerminated,
                StatementsCancelled,
                StatementTimeout,
                TablesLocked,
                DiskFull,
                Deadlocks,
                SerializationFailures,
                NetworkCut,
                NetworkCut,
                NetworkHalfOpen,
                NetworkHalfOpen,
                NetworkSlow,
                NetworkTorn,
                NetworkTorn,
                CrashLoop,
            ],
            Self::Cluster => vec![
                NodeKill,
                NodeKill,
                LeaderKill,
                LeaderKill,
                LeaderKill,
                MemoryAlarm,
                ConnectionsClosed,
                NetworkHalfOpen,
                NetworkCut,
                PostgresKill,
                CrashLoop,
            ],
            Self::Sqlite => vec![
                SqliteLocked,
                SqliteLocked,
                RabbitmqRestart,
                RabbitmqKill,
                MemoryAlarm,
                ConnectionsClosed,
                QueueDeleted,
                NetworkCut,
                NetworkHalfOpen,
                NetworkSlow,
                NetworkTorn,
                CrashLoop,
            ],
        }
    }
}

/// The name of a scenario or a fault on the command line.
pub(crate) fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().expect("every variant has a name").get_name().to_owned()
}

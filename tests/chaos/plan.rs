//! Which faults there are, and which of them a seed draws, in which order.

use std::time::Duration;

use clap::ValueEnum;

use crate::chance::Chance;
use crate::faults::{network, postgres, processes, rabbitmq, sqlite};
use crate::world::World;

/// What is put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// One RabbitMQ, PostgreSQL, several processes of each role.
    Postgres,
    /// A RabbitMQ of three nodes, PostgreSQL, several processes of each role.
    Cluster,
    /// One RabbitMQ, SQLite, one process with every role.
    Sqlite,
}

/// Something that goes wrong for a while, and is well again afterwards.
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

use Fault::{
    BackendsTerminated, ConnectionsClosed, CrashLoop, Deadlocks, DiskFull, KillIngress, KillRelay, KillWorker,
    LeaderKill, MemoryAlarm, NetworkCut, NetworkHalfOpen, NetworkSlow, NetworkTorn, NodeKill, PostgresKill,
    PostgresRestart, QueueDeleted, RabbitmqKill, RabbitmqRestart, SerializationFailures, SqliteLocked,
    StatementTimeout, StatementsCancelled, TablesLocked,
};

/// Inflicted beside the others, at any moment.
const KILLS: [Fault; 3] = [KillIngress, KillWorker, KillRelay];

impl Scenario {
    /// The processes: a name, and their roles (none: all).
    pub(crate) fn processes(self) -> Vec<(&'static str, &'static [&'static str])> {
        let several: [(&str, &[&str], usize); 3] =
            [("ingress", &["ingress"], 3), ("worker", &["worker"], 3), ("relay", &["relay"], 2)];
        match self {
            Self::Sqlite => vec![("all", &[])],
            Self::Postgres | Self::Cluster => {
                several.into_iter().flat_map(|(name, roles, times)| vec![(name, roles); times]).collect()
            }
        }
    }

    /// Every fault of a full run, one after the other.
    fn faults(self) -> Vec<Fault> {
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

    /// What a quick run draws from, beside a broker and a database that go away.
    fn quick(self) -> Vec<Fault> {
        let long = [
            RabbitmqRestart,
            RabbitmqKill,
            PostgresRestart,
            PostgresKill,
            StatementTimeout,
            NetworkHalfOpen,
            CrashLoop,
        ];
        self.faults().into_iter().filter(|fault| !long.contains(fault)).collect()
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.to_possible_value().expect("every scenario has a name").get_name())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.to_possible_value().expect("every fault has a name").get_name())
    }
}

/// A fault, so long after the one before it, with random numbers of its own.
pub(crate) struct Planned {
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
    pub(crate) chance: Chance,
}

/// Two rows of faults that go on side by side: what happens to servers and networks, and what happens to processes.
pub(crate) struct Plan {
    pub(crate) around: Vec<Planned>,
    pub(crate) kills: Vec<Planned>,
}

/// How much is inflicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Quick,
    Full,
}

impl Plan {
    /// The plan that the seed draws; of `only` those faults, if any are named.
    pub(crate) fn draw(scenario: Scenario, length: Length, only: &[Fault], chance: &mut Chance) -> Self {
        let mut around = match length {
            Length::Full => scenario.faults(),
            Length::Quick => {
                let mut drawn = scenario.quick();
                chance.shuffle(&mut drawn);
                drawn.truncate(4);
                drawn.push(*chance.pick(&[RabbitmqRestart, RabbitmqKill]));
                if scenario != Scenario::Sqlite {
                    drawn.push(*chance.pick(&[PostgresRestart, PostgresKill]));
                }
                drawn
            }
        };
        chance.shuffle(&mut around);
        // About as long as the others take together.
        let mut kills: Vec<Fault> = (0..around.len() * 2).map(|_| *chance.pick(&KILLS)).collect();
        if !only.is_empty() {
            around = only.iter().copied().filter(|fault| !KILLS.contains(fault)).collect();
            kills.retain(|fault| only.contains(fault));
        }
        let mut planned = |faults: Vec<Fault>, shortest: u64, longest: u64| {
            let draw = |fault| {
                let after = Duration::from_millis(shortest + chance.below(longest - shortest));
                Planned { after, fault, chance: chance.fork() }
            };
            faults.into_iter().map(draw).collect()
        };
        Self { around: planned(around, 1_000, 4_000), kills: planned(kills, 1_000, 7_000) }
    }
}

/// Inflicts it, and heals it again; which part of the world it met.
pub(crate) async fn inflict(world: &World, fault: Fault, chance: &mut Chance) -> anyhow::Result<String> {
    match fault {
        KillIngress => Ok(processes::kill(world, "ingress", chance)),
        KillWorker => Ok(processes::kill(world, "worker", chance)),
        KillRelay => Ok(processes::kill(world, "relay", chance)),
        CrashLoop => processes::crash_loop(world, chance).await,
        RabbitmqRestart => rabbitmq::restart(world).await,
        RabbitmqKill => rabbitmq::kill(world).await,
        MemoryAlarm => rabbitmq::memory_alarm(world).await,
        ConnectionsClosed => rabbitmq::connections_closed(world).await,
        QueueDeleted => rabbitmq::queue_deleted(world).await,
        NodeKill => rabbitmq::node_kill(world, chance).await,
        LeaderKill => rabbitmq::leader_kill(world, chance).await,
        PostgresRestart => postgres::restart(world).await,
        PostgresKill => postgres::kill(world, chance).await,
        BackendsTerminated => postgres::terminated(world).await,
        StatementsCancelled => postgres::cancelled(world).await,
        StatementTimeout => postgres::statement_timeout(world).await,
        TablesLocked => postgres::tables_locked(world).await,
        DiskFull => postgres::disk_full(world).await,
        Deadlocks => postgres::deadlocks(world).await,
        SerializationFailures => postgres::serialization_failures(world).await,
        SqliteLocked => sqlite::locked(world).await,
        NetworkCut => network::cut(world, chance).await,
        NetworkHalfOpen => network::half_open(world, chance).await,
        NetworkSlow => network::slow(world, chance).await,
        NetworkTorn => network::torn(world, chance).await,
    }
}

//! The faults. Each function injects one, repairs it, and returns a description of what it has hit. Where it depends on timing whether
//! a fault hits anything, it lasts until it has, and fails if it never does.

mod contention;
mod disk;
mod kills;
mod network;
mod postgres;
mod rabbitmq;
mod sqlite;

use crate::rng::Rng;
use crate::scenario::Fault;
use crate::testbed::Testbed;

pub(crate) use disk::Skipped;

/// Injects a fault and repairs it. Returns a description of what it has hit.
///
/// # Errors
/// [`Skipped`] if this machine does not allow the fault; anything else is a finding.
pub(crate) async fn inject(testbed: &Testbed, fault: Fault, rng: &mut Rng) -> anyhow::Result<String> {
    match fault {
        Fault::KillIngress => Ok(kills::kill(testbed, "ingress", rng)),
        Fault::KillWorker => Ok(kills::kill(testbed, "worker", rng)),
        Fault::KillRelay => Ok(kills::kill(testbed, "relay", rng)),
        Fault::CrashLoop => kills::crash_loop(testbed, rng).await,
        Fault::RabbitmqRestart => rabbitmq::restart(testbed).await,
        Fault::RabbitmqKill => rabbitmq::kill(testbed).await,
        Fault::MemoryAlarm => rabbitmq::raise_memory_alarm(testbed).await,
        Fault::ConnectionsClosed => rabbitmq::close_connections(testbed).await,
        Fault::QueueDeleted => rabbitmq::delete_queue(testbed).await,
        Fault::NodeKill => rabbitmq::kill_follower(testbed, rng).await,
        Fault::LeaderKill => rabbitmq::kill_leader(testbed).await,
        Fault::PostgresRestart => postgres::restart(testbed).await,
        Fault::PostgresKill => postgres::kill(testbed, rng).await,
        Fault::BackendsTerminated => postgres::terminate_sessions(testbed).await,
        Fault::StatementsCancelled => postgres::cancel_statements(testbed).await,
        Fault::StatementTimeout => postgres::slow_writes_down(testbed).await,
        Fault::TablesLocked => postgres::lock_tables(testbed).await,
        Fault::DiskFull => disk::fill(testbed).await,
        Fault::Deadlocks => contention::cause_deadlocks(testbed).await,
        Fault::SerializationFailures => contention::cause_serialization_failures(testbed).await,
        Fault::SqliteLocked => sqlite::lock(testbed).await,
        Fault::NetworkCut => network::cut(testbed, rng).await,
        Fault::NetworkHalfOpen => network::half_open(testbed, rng).await,
        Fault::NetworkSlow => network::slow(testbed, rng).await,
        Fault::NetworkTorn => network::torn(testbed, rng).await,
    }
}

//! What `banklink check` says about RabbitMQ by AMQP: reachability, topology, version, confirms and encryption.

use super::check_line::Check;
use crate::broker::{self, Address, Connection, known_defect, server_version};

/// The remedy of alarms.
pub(super) const ALARM: &str = "see `rabbitmq-diagnostics alarms`: RabbitMQ may be short of memory or disk";

/// The lines `broker` and `topology`.
pub(super) async fn reached(connected: &Result<Connection, broker::Error>) -> [Check; 2] {
    match connected {
        Ok(connection) => [Check::passed("broker", "reachable"), topology(connection).await],
        Err(error) => {
            let remedy = "start RabbitMQ, or correct the host, user, password or virtual host of AMQP_URL; with amqps://, SSL_CERT_FILE \
                          names an authority of your own";
            [Check::failed("broker", error.to_string(), remedy), Check::skipped("topology", "broker")]
        }
    }
}

async fn topology(connection: &Connection) -> Check {
    let Err(error) = connection.compare().await else { return Check::passed("topology", "declared") };
    let remedy = match error {
        broker::Error::Missing(_) => "run `banklink topology apply`, with the rights to configure it",
        broker::Error::Mismatch(_) | broker::Error::Precondition(_) => {
            "deploy/RUNBOOK.md, a queue exists with other arguments: drain it, delete it, and run `banklink topology apply`"
        }
        broker::Error::Amqp(_) => {
            "give the user of AMQP_URL the right to configure (deploy/rabbitmq/permissions.md), or set BANKLINK_DECLARE=false"
        }
        _ => ALARM,
    };
    Check::failed("topology", error.to_string(), remedy)
}

/// The lines `version`, `confirm` and `tls`; without a connection, the first two say that they were skipped.
pub(super) async fn of_broker(address: &Address, connection: Option<&Connection>) -> [Check; 3] {
    match connection {
        Some(connection) => [version(address).await, confirm(connection).await, encryption(address)],
        None => [Check::skipped("version", "broker"), Check::skipped("confirm", "broker"), encryption(address)],
    }
}

async fn version(address: &Address) -> Check {
    match server_version(address).await {
        Ok(version) => {
            let check = Check::passed("version", format!("RabbitMQ {version}"));
            match known_defect(&version) {
                Some((defect, remedy)) => check.warn(defect, remedy),
                None => check,
            }
        }
        Err(error) => Check::passed("version", "unknown")
            .warn(error.to_string(), "compare `rabbitmqctl version` with the advisories of RabbitMQ"),
    }
}

async fn confirm(connection: &Connection) -> Check {
    match connection.probe_confirm().await {
        Ok(took) => {
            let milliseconds = took.as_millis() + 1;
            Check::passed("confirm", format!("a quorum queue confirmed a message within {milliseconds} ms"))
        }
        // A user with few rights, who can do its work nevertheless.
        Err(broker::Error::Amqp(reason) | broker::Error::Precondition(reason)) => {
            let remedy = "check with a user who may configure queues of this namespace, and write to `amq.default`";
            Check::not_checked("confirm", format!("not probed: {reason}"), remedy)
        }
        Err(error) => Check::failed("confirm", error.to_string(), ALARM),
    }
}

fn encryption(address: &Address) -> Check {
    if address.is_exposed() {
        let warning = "credentials and webhooks cross the network to RabbitMQ unencrypted";
        return Check::passed("tls", "RabbitMQ is on another machine").warn(warning, "use amqps:// in AMQP_URL");
    }
    Check::passed("tls", "RabbitMQ is on this machine, or the connection is encrypted")
}

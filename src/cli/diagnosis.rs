//! What `banklink check` finds out beyond reachability: the version of RabbitMQ, confirms, encryption and clocks.

use chrono::TimeDelta;

use super::check_line::{Check, SKIPPED};
use crate::broker::{self, Address, Connection, known_defect, server_version};
use crate::store::Store;

/// The largest difference between clocks that is not worth a warning.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(1);

/// The checks of RabbitMQ; without a connection, each says that it was skipped.
pub(super) async fn of_broker(address: &Address, connection: Option<&Connection>) -> Vec<Check> {
    let Some(connection) = connection else { return vec![skipped("version"), skipped("confirm"), encryption(address)] };
    vec![version(address).await, confirm(connection).await, encryption(address)]
}

fn skipped(name: &'static str) -> Check {
    Check::new(name, Err(SKIPPED.to_owned()))
}

async fn version(address: &Address) -> Check {
    match server_version(address).await {
        Ok(version) => match known_defect(&version) {
            Some((defect, remedy)) => {
                Check::new("version", Ok(format!("RabbitMQ {version}; warning: {defect}"))).with_remedy(remedy)
            }
            None => Check::new("version", Ok(format!("RabbitMQ {version}"))),
        },
        Err(error) => Check::new("version", Ok(format!("unknown: {error}"))),
    }
}

async fn confirm(connection: &Connection) -> Check {
    match connection.probe_confirm().await {
        Ok(took) => {
            Check::new("confirm", Ok(format!("RabbitMQ confirmed a message within {} ms", took.as_millis() + 1)))
        }
        // A user with few rights, who can do its work nevertheless.
        Err(broker::Error::Amqp(reason)) => Check::new("confirm", Ok(format!("not probed: {reason}"))),
        Err(error) => Check::new("confirm", Err(error.to_string()))
            .with_remedy("see `rabbitmq-diagnostics alarms`: RabbitMQ may be short of memory or disk"),
    }
}

fn encryption(address: &Address) -> Check {
    if address.is_exposed() {
        let warning = "warning: credentials and webhooks cross the network to RabbitMQ unencrypted";
        return Check::new("tls", Ok(warning.to_owned())).with_remedy("use amqps:// in AMQP_URL");
    }
    Check::new("tls", Ok("RabbitMQ is on this machine, or the connection is encrypted".to_owned()))
}

/// Compares the clock of this machine with the database's.
pub(super) async fn clock(store: Option<&Store>) -> Check {
    let Some(store) = store else { return skipped("clock") };
    match store.clock_skew().await {
        Ok(None) => Check::new("clock", Ok("SQLite uses the clock of this machine".to_owned())),
        Ok(Some(skew)) if skew.abs() <= MAX_CLOCK_SKEW => {
            Check::new("clock", Ok("within 1 s of the database's clock".to_owned()))
        }
        Ok(Some(skew)) => {
            let seconds = skew.num_seconds();
            Check::new("clock", Ok(format!("warning: the database's clock differs by {seconds} s from this machine's")))
                .with_remedy("synchronize the clocks of both machines, for example with chrony")
        }
        Err(error) => Check::new("clock", Err(error.to_string())),
    }
}

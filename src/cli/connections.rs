//! The connections of a command that does one thing and exits: it does not wait for an outage to end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{sleep, timeout};

use super::flags::Flags;
use super::{CommandError, migrate, settings};
use crate::app::App;
use crate::broker::{Address, Publisher, Topology};
use crate::failpoints;
use crate::store::{IfMissing, Store};

/// How often a publisher is polled until it is ready.
const READY_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum time to connect to RabbitMQ, and to close the connection.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

/// Opens the database of a command that uses no other setting.
pub(super) async fn database(flags: &Flags) -> Result<Store, CommandError> {
    open(&flags.resolve(|values| values.get(&settings::DATABASE_URL))?).await
}

/// Opens the database at `url`, which must exist and have all tables.
pub(super) async fn open(url: &str) -> Result<Store, CommandError> {
    let store = Store::connect(url, IfMissing::Refuse).await?;
    migrate::require(&store).await?;
    Ok(store)
}

/// Connects to RabbitMQ, waits for a publisher to be ready, does `work` with it, and closes the connection.
pub(super) async fn with_publisher<T>(
    (address, topology): (Address, Arc<Topology>),
    work: impl AsyncFnOnce(&Publisher) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let app = App::new(address, topology);
    let publisher = app.publisher();
    let is_ready = async {
        while publisher.ready().is_err() {
            sleep(READY_POLL_INTERVAL).await;
        }
    };
    if timeout(failpoints::shortened_for_tests(CONNECTION_DEADLINE), is_ready).await.is_err() {
        publisher.ready().context("cannot publish")?;
    }
    let result = work(&publisher).await;
    drop(publisher);
    // A connection that does not close in time is abandoned.
    let _ = timeout(CONNECTION_DEADLINE, app.close()).await;
    result
}

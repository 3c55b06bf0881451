//! Kills processes: with SIGKILL, and with a message that aborts each worker that handles it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use entity::dead_letter;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use tokio::time::{Instant, sleep};

use crate::load::Load;
use crate::rng::Rng;
use crate::sender::post;
use crate::testbed::Testbed;

/// How long the crashes may go on until the message has reached its delivery limit.
const CRASH_LOOP_TIMEOUT: Duration = Duration::from_secs(150);

/// The fleet starts a new process afterwards.
pub(super) fn kill(testbed: &Testbed, role: &str, rng: &mut Rng) -> String {
    let instances = testbed.fleet.with_role(role);
    let instance = rng.choose(&instances);
    instance.kill.notify_one();
    instance.name.clone()
}

pub(super) async fn crash_loop(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<String> {
    let webhook = Arc::new(Load::aborting(rng));
    // A post without an answer may leave a second message on the queue, so aborts are expected until the end of the run.
    testbed.fleet.expect_aborts();
    let started = Instant::now();
    while !post(testbed, &webhook, rng.fork()).await {
        sleep(Duration::from_secs(1)).await;
        ensure!(started.elapsed() < CRASH_LOOP_TIMEOUT, "no ingress accepts the message that aborts workers");
    }
    let database = testbed.database().await?;
    let letters = dead_letter::Entity::find().filter(dead_letter::Column::Body.eq(webhook.body.clone()));
    while letters.clone().count(&database).await? == 0 {
        ensure!(
            started.elapsed() < CRASH_LOOP_TIMEOUT,
            "a message that aborts workers is not dead after {CRASH_LOOP_TIMEOUT:?}"
        );
        sleep(Duration::from_millis(500)).await;
    }
    Ok(format!("dead after {:.0} s", started.elapsed().as_secs_f64()))
}

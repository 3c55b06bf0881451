//! kill -9 of a process, and a message that kills each worker that takes it in hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use entity::dead_letter;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::load::Load;
use crate::sender::post;
use crate::world::World;

/// How long the crashes may go on until the broker puts the message aside.
const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) fn kill(world: &World, role: &str, chance: &mut Chance) -> String {
    let slots = world.fleet.with(role);
    let slot = chance.pick(&slots);
    slot.kill();
    slot.name.clone()
}

pub(crate) async fn crash_loop(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    let poison = Arc::new(Load::aborting(chance));
    world.fleet.expect_aborts();
    let began = Instant::now();
    while !post(world, &poison, chance.fork()).await {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if began.elapsed() > PATIENCE {
            bail!("no ingress took the message in");
        }
    }
    let database = world.database().await?;
    let body = dead_letter::Column::Body.eq(poison.body.clone());
    while dead_letter::Entity::find().filter(body.clone()).count(&database).await? == 0 {
        if began.elapsed() > PATIENCE {
            bail!("a message that aborts workers is not dead after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // A post without an answer may have left a second one on the queue: its aborts are expected as long as the run lasts.
    Ok(format!("dead after {:.0} s", began.elapsed().as_secs_f64()))
}

//! Networks that are cut, half-open, slow, or torn in the middle of a frame: between one process, or all of a role, and one of
//! its servers.

use std::time::Duration;

use tokio::time::sleep;

use crate::chance::Chance;
use crate::proxy::{Mode, Proxy};
use crate::world::World;

const CUT: Duration = Duration::from_secs(4);
/// Longer than two heartbeats, so that both ends notice.
const SILENT: Duration = Duration::from_secs(24);
const SLOW: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_millis(500);
const TORN: Duration = Duration::from_secs(3);
/// How long it takes for connections to be closed, before new ones get through again.
const OVER: Duration = Duration::from_millis(200);

pub(crate) async fn cut(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(fail(world, chance, Mode::Closed, CUT).await)
}

pub(crate) async fn half_open(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(fail(world, chance, Mode::Silent, SILENT).await)
}

pub(crate) async fn slow(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(fail(world, chance, Mode::Delay(DELAY), SLOW).await)
}

pub(crate) async fn torn(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(fail(world, chance, Mode::Torn, TORN).await)
}

/// Makes the network fail for a while, for one process or for all with its role.
async fn fail(world: &World, chance: &mut Chance, mode: Mode, lasts: Duration) -> String {
    let role = *chance.pick(&["ingress", "worker", "worker", "relay"]);
    let mut slots = world.fleet.with(role);
    if chance.percent(60) {
        let one = chance.place(&slots);
        slots = vec![slots[one]];
    }
    let databases = chance.percent(40) && role != "ingress" && slots.iter().all(|slot| slot.database.is_some());
    let proxies: Vec<&Proxy> =
        slots.iter().filter_map(|slot| if databases { slot.database.as_ref() } else { Some(&slot.broker) }).collect();
    proxies.iter().for_each(|proxy| proxy.set(mode));
    sleep(lasts).await;
    if mode == Mode::Silent {
        // What was silent stays so, and a server would keep those connections for ever.
        proxies.iter().for_each(|proxy| proxy.set(Mode::Closed));
        sleep(OVER).await;
    }
    proxies.iter().for_each(|proxy| proxy.set(Mode::Forward));
    let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    format!("{} and {}", names.join(", "), if databases { "PostgreSQL" } else { "RabbitMQ" })
}

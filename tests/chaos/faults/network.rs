//! Networks that are cut, half-open, slow, or torn in the middle of a frame: between one process, or all of a role, and one of
//! its servers.

use std::time::Duration;

use tokio::time::sleep;

use crate::chance::Chance;
use crate::proxy::{Proxy, Weather};
use crate::world::World;

const CUT: Duration = Duration::from_secs(4);
/// Longer than two heartbeats, so that both ends notice.
const SILENT: Duration = Duration::from_secs(24);
const SLOW: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_millis(500);
const TORN: Duration = Duration::from_secs(3);

pub(crate) async fn cut(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(turn(world, chance, Weather::Cut, CUT).await)
}

pub(crate) async fn half_open(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(turn(world, chance, Weather::Silent, SILENT).await)
}

pub(crate) async fn slow(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(turn(world, chance, Weather::Slow(DELAY), SLOW).await)
}

pub(crate) async fn torn(world: &World, chance: &mut Chance) -> anyhow::Result<String> {
    Ok(turn(world, chance, Weather::Torn, TORN).await)
}

/// Turns the weather for a while, for one process or for all with its role.
async fn turn(world: &World, chance: &mut Chance, weather: Weather, lasts: Duration) -> String {
    let role = *chance.pick(&["ingress", "worker", "worker", "relay"]);
    let mut slots = world.fleet.with(role);
    if chance.percent(60) {
        let one = chance.place(&slots);
        slots = vec![slots[one]];
    }
    let databases = chance.percent(40) && role != "ingress" && slots.iter().all(|slot| slot.database.is_some());
    let proxies: Vec<&Proxy> =
        slots.iter().filter_map(|slot| if databases { slot.database.as_ref() } else { Some(&slot.broker) }).collect();
    proxies.iter().for_each(|proxy| proxy.turn(weather));
    sleep(lasts).await;
    proxies.iter().for_each(|proxy| proxy.turn(Weather::Calm));
    let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    format!("{} and {}", names.join(", "), if databases { "PostgreSQL" } else { "RabbitMQ" })
}

//! Network failures between one server and a process, or all processes of a role: connections are closed, fall silent, get slow, or are
//! reset in the middle of a frame.

use std::time::Duration;

use testkit::proxy::{Mode, Proxy};
use tokio::time::sleep;

use crate::rng::Rng;
use crate::testbed::Testbed;

const CUT: Duration = Duration::from_secs(4);
/// Longer than two heartbeat intervals, so that both ends notice.
const HALF_OPEN: Duration = Duration::from_secs(24);
const SLOW: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_millis(500);
const TORN: Duration = Duration::from_secs(3);
/// How long the proxies need to close their connections.
const CLOSING: Duration = Duration::from_millis(200);

pub(super) async fn cut(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<String> {
    fail(testbed, rng, Mode::Closed, CUT).await
}

pub(super) async fn half_open(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<String> {
    fail(testbed, rng, Mode::Silent, HALF_OPEN).await
}

pub(super) async fn slow(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<String> {
    fail(testbed, rng, Mode::Delay(DELAY), SLOW).await
}

pub(super) async fn torn(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<String> {
    fail(testbed, rng, Mode::Torn, TORN).await
}

async fn fail(testbed: &Testbed, rng: &mut Rng, mode: Mode, duration: Duration) -> anyhow::Result<String> {
    let role = *rng.choose(&["ingress", "worker", "worker", "relay"]);
    let mut instances = testbed.fleet.with_role(role);
    if rng.percent(60) {
        instances = vec![*rng.choose(&instances)];
    }
    let databases: Option<Vec<&Proxy>> = instances.iter().map(|instance| instance.database.as_ref()).collect();
    let (proxies, server) = match databases {
        Some(databases) if rng.percent(40) && role != "ingress" => (databases, "PostgreSQL"),
        _ => (instances.iter().map(|instance| &instance.broker).collect(), "RabbitMQ"),
    };
    proxies.iter().for_each(|proxy| proxy.set(mode));
    sleep(duration).await;
    if mode == Mode::Silent {
        // A silent connection stays silent, and a server would keep it open.
        proxies.iter().for_each(|proxy| proxy.set(Mode::Closed));
        sleep(CLOSING).await;
    }
    proxies.iter().for_each(|proxy| proxy.set(Mode::Forward));
    let names: Vec<&str> = instances.iter().map(|instance| instance.name.as_str()).collect();
    Ok(format!("{} and {server}", names.join(", ")))
}

//! A RabbitMQ of three nodes on this machine, one `deploy/services` instance each, joined.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use url::Url;

use crate::services::Services;

const NODES: usize = 3;

/// The daemon that tells the nodes where the others are. It belongs to no node, and so outlives the killing of any.
pub(crate) struct Epmd {
    _process: Child,
}

/// Brings the nodes up, and PostgreSQL with the first.
pub(crate) async fn up() -> anyhow::Result<(Vec<Services>, Option<Epmd>)> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let epmd = Command::new("epmd")
        .args(["-port", &port.to_string(), "-address", "127.0.0.1"])
        .stderr(Stdio::null()) // it tells of every connection that asks nothing
        .kill_on_drop(true)
        .spawn()
        .context("epmd comes with RabbitMQ's Erlang")?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        ensure!(tokio::time::Instant::now() < deadline, "epmd does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let environment = vec![
        ("BANKLINK_RABBITMQ_EPMD_PORT", port.to_string()),
        ("BANKLINK_RABBITMQ_COOKIE", uuid::Uuid::new_v4().simple().to_string()),
    ];
    let mut nodes: Vec<Services> = Vec::new();
    for number in 0..NODES {
        let services: &[&str] = if number == 0 { &["rabbitmq", "postgres"] } else { &["rabbitmq"] };
        let node = Services::up_with(&format!("chaos-{number}"), services, environment.clone()).await;
        if let Some(first) = nodes.first() {
            let port = Url::parse(&first.amqp_url)?.port().context("a port")?;
            let first = format!("banklink-{port}@localhost");
            for step in [&["stop_app"][..], &["reset"], &["join_cluster", &first], &["start_app"]] {
                node.ctl(step).await;
            }
        }
        nodes.push(node);
    }
    Ok((nodes, Some(Epmd { _process: epmd })))
}

//! A RabbitMQ cluster of three nodes on this machine: one private instance of `deploy/services` each.

use std::process::Stdio;

use anyhow::Context;
use testkit::services::Services;
use testkit::waiting::eventually;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use url::Url;

const NODES: usize = 3;

/// Starts the nodes and joins them, and PostgreSQL with the first. Also returns the port mapper (epmd) through which the nodes find
/// each other: it belongs to no node, so that it survives the kill of any.
pub(crate) async fn start() -> anyhow::Result<(Vec<Services>, Child)> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let epmd = Command::new("epmd")
        .args(["-port", &port.to_string(), "-address", "127.0.0.1"])
        .stderr(Stdio::null()) // it reports each connection that is closed without a request, such as those below
        .kill_on_drop(true)
        .spawn()
        .context("epmd is part of Erlang, which RabbitMQ needs")?;
    eventually("a connection to epmd", async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
    let environment = vec![
        ("BANKLINK_RABBITMQ_EPMD_PORT", port.to_string()),
        ("BANKLINK_RABBITMQ_COOKIE", uuid::Uuid::new_v4().simple().to_string()),
    ];
    let mut nodes: Vec<Services> = Vec::new();
    for number in 0..NODES {
        let services: &[&str] = if number == 0 { &["rabbitmq", "postgres"] } else { &["rabbitmq"] };
        let node = Services::up_with(&format!("chaos-{number}"), services, environment.clone()).await;
        if let Some(first) = nodes.first() {
            let port = Url::parse(&first.amqp_url)?.port().context("an AMQP URL without a port")?;
            let first = format!("banklink-{port}@localhost");
            for command in [&["stop_app"][..], &["reset"], &["join_cluster", &first], &["start_app"]] {
                node.ctl(command).await;
            }
        }
        nodes.push(node);
    }
    Ok((nodes, epmd))
}

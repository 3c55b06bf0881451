//! Maximum load: each of a fixed number of connections sends its next post as soon as the last one is answered.
//!
//! The load shares the processors with what it measures, so it uses one thread, and everything is signed beforehand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use uuid::Uuid;

use crate::http::Client;
use crate::progress;
use crate::webhook;

/// Deadline of the whole load.
const DEADLINE: Duration = Duration::from_secs(300);

/// The result of a load.
pub(crate) struct Load {
    /// Accepted posts per second.
    pub(crate) rate: f64,
    /// The latency of each post, sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// Creates `count` signed posts, each about another bank link, with bodies that `body` makes.
pub(crate) fn posts(count: usize, body: fn(Uuid) -> String) -> Result<Vec<Vec<u8>>> {
    let key = webhook::key(webhook::SECRET)?;
    Ok((0..count).map(|_| webhook::post(&key, &body(Uuid::new_v4()))).collect())
}

/// Sends all posts to `address`, each until it is accepted.
pub(crate) async fn send_all(address: &str, posts: Vec<Vec<u8>>, connections: usize) -> Result<Load> {
    let address = address.to_owned();
    let load = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sending = async { tokio::time::timeout(DEADLINE, send(&address, &posts, connections)).await };
        runtime.block_on(sending).context("not every post was accepted in time")?
    });
    load.await?
}

async fn send(address: &str, posts: &[Vec<u8>], connections: usize) -> Result<Load> {
    let clients = try_join_all((0..connections).map(|_| Client::connect(address))).await?;
    let (next, latencies) = (Rc::new(Cell::new(0)), RefCell::new(Vec::with_capacity(posts.len())));
    let refused = Cell::new(0);
    let start = Instant::now();
    try_join_all(clients.into_iter().map(async |mut client| {
        while let Some(post) = posts.get(next.replace(next.get() + 1)) {
            let sent = Instant::now();
            refused.set(refused.get() + client.post(post).await?);
            latencies.borrow_mut().push(sent.elapsed());
        }
        anyhow::Ok(())
    }))
    .await?;
    progress::print_refused(refused.get());
    let rate = posts.len() as f64 / start.elapsed().as_secs_f64();
    let mut latencies = latencies.into_inner();
    latencies.sort_unstable();
    Ok(Load { rate, latencies })
}

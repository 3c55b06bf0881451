//! Load at a steady rate: posts are sent on a schedule, whether or not earlier ones are answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::http::Client;
use crate::progress;

/// Number of connections: enough that an idle one is always available.
const CONNECTIONS: usize = 256;

/// Sends all posts to `address`, each until it is accepted, and returns when each was sent. There is no deadline.
pub(crate) async fn post_steadily(address: &str, posts: Vec<Vec<u8>>, rate: u32) -> Result<Vec<Instant>> {
    let (release, mut idle) = mpsc::channel(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        release.send(Client::connect(address).await?).await?;
    }
    let (mut sent, mut in_progress, mut refused) = (Vec::with_capacity(posts.len()), JoinSet::new(), 0);
    let start = tokio::time::Instant::now();
    for (post, number) in posts.into_iter().zip(0_u32..) {
        tokio::time::sleep_until(start + Duration::from_secs(1) * number / rate).await;
        sent.push(Instant::now());
        let mut client: Client = idle.recv().await.context("every connection has failed")?;
        let release = release.clone();
        in_progress.spawn(async move {
            let refused = client.post(&post).await?;
            let _ = release.send(client).await;
            anyhow::Ok(refused)
        });
        while let Some(answered) = in_progress.try_join_next() {
            refused += answered??;
        }
    }
    while let Some(answered) = in_progress.join_next().await {
        refused += answered??;
    }
    progress::print_refused(refused);
    Ok(sent)
}

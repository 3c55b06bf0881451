//! Posts at a steady rate, whether or not earlier ones have been answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::http::Client;
use crate::progress;

/// Connections, so many that none has to be waited for.
const CONNECTIONS: usize = 256;

/// Sends all of them to `address`; when each left. Each has to be accepted. Whoever calls keeps the time.
pub(crate) async fn post_steadily(address: &str, posts: Vec<Vec<u8>>, rate: u32) -> Result<Vec<Instant>> {
    let (give_back, mut idle) = mpsc::channel(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        give_back.send(Client::connect(address).await?).await?;
    }
    let (mut left, mut under_way, mut refused) = (Vec::with_capacity(posts.len()), JoinSet::new(), 0);
    let begin = tokio::time::Instant::now();
    for (post, number) in posts.into_iter().zip(0_u32..) {
        tokio::time::sleep_until(begin + Duration::from_secs(1) * number / rate).await;
        left.push(Instant::now());
        let mut client: Client = idle.recv().await.context("no connection is left")?;
        let give_back = give_back.clone();
        under_way.spawn(async move {
            let refused = client.post(&post).await?;
            let _ = give_back.send(client).await;
            anyhow::Ok(refused)
        });
        while let Some(answered) = under_way.try_join_next() {
            refused += answered??;
        }
    }
    while let Some(answered) = under_way.join_next().await {
        refused += answered??;
    }
    progress::say_refused(refused);
    Ok(left)
}

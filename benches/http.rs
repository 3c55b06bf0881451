//! As much of an HTTP/1.1 client as is needed, at next to no cost: it shares the processors with what it measures.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(15);
/// How long a refused post waits, and how long it may be refused: RabbitMQ is gone then, and not just slow.
const AGAIN: Duration = Duration::from_millis(100);
const REFUSED: Duration = Duration::from_secs(30);
/// The longest answer: `/metrics` has some 10 KiB.
const LONGEST: usize = 1 << 20;

/// One connection, kept alive.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let connected = tokio::time::timeout(DEADLINE, TcpStream::connect(address)).await;
        let stream = connected.context("no connection in time")?.with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(32 << 10) })
    }

    /// Posts a webhook, as it is written on the wire, until it is accepted: when a disk stalls for seconds, RabbitMQ confirms
    /// nothing, the ingress answers 503, and Lean would post again. How often it was refused. Whoever calls keeps the time.
    pub(crate) async fn post(&mut self, request: &[u8]) -> Result<u32> {
        let (mut refused, began) = (0, Instant::now());
        loop {
            match self.exchange(request).await?.0 {
                200 => return Ok(refused),
                503 if began.elapsed() < REFUSED => refused += 1,
                status => bail!("a post was answered {status}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Requests a page; its status and its body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(u16, &str)> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
        let answered = tokio::time::timeout(DEADLINE, self.exchange(request.as_bytes())).await;
        let (status, body) = answered.context("no answer over HTTP in time")??;
        Ok((status, std::str::from_utf8(&self.buffer[body..]).context("the answer is no UTF-8")?))
    }

    /// The status, and where the body begins in the buffer.
    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, usize)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            ensure!(self.buffer.len() < LONGEST, "the answer is too long");
            if let Some((status, body, length)) = head(&self.buffer)?
                && self.buffer.len() >= body + length
            {
                ensure!(self.buffer.len() == body + length, "more than was asked for");
                return Ok((status, body));
            }
        }
    }
}

/// The status, where the body begins, and how long it is; `None` while the head is not complete.
fn head(answer: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).context("the head is no UTF-8")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    });
    Ok(Some((status, end + 4, length.context("an answer without a length")?)))
}

//! A minimal HTTP/1.1 client. It has to be cheap, because it shares the processors with what it measures.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(15);
/// Delay before a post that was answered 503 is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long a post may be answered 503. After that RabbitMQ counts as unavailable, not as slow.
const RETRY_DEADLINE: Duration = Duration::from_secs(30);
/// Maximum size of a response; `/metrics` has about 10 KiB.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// One connection with keep-alive.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let connected = tokio::time::timeout(DEADLINE, TcpStream::connect(address)).await;
        let stream = connected
            .context("no connection within the deadline")?
            .with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(32 << 10) })
    }

    /// Sends `request`, a whole post, until it is accepted, and returns how often it was answered 503. That happens
    /// when a disk stalls for seconds and RabbitMQ confirms nothing; Lean would post again too. There is no deadline.
    pub(crate) async fn post(&mut self, request: &[u8]) -> Result<u32> {
        let (mut refused, started) = (0, Instant::now());
        loop {
            match self.exchange(request).await?.0 {
                200 => return Ok(refused),
                503 if started.elapsed() < RETRY_DEADLINE => refused += 1,
                status => bail!("a post was answered {status}"),
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// Requests a page, and returns its status and its body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(u16, &str)> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
        let answered = tokio::time::timeout(DEADLINE, self.exchange(request.as_bytes())).await;
        let (status, body) = answered.context("no HTTP response within the deadline")??;
        Ok((status, std::str::from_utf8(&self.buffer[body..]).context("the response is not UTF-8")?))
    }

    /// Sends a request, and returns the status of its response. There is no deadline.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<u16> {
        Ok(self.exchange(request).await?.0)
    }

    /// Sends a request and does not wait for the response.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request).await?)
    }

    /// Sends a request and reads the response. Returns its status, and where its body begins in the buffer.
    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, usize)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            ensure!(self.buffer.len() < MAX_RESPONSE_BYTES, "the response is too large");
            if let Some((status, body, length)) = head(&self.buffer)?
                && self.buffer.len() >= body + length
            {
                ensure!(self.buffer.len() == body + length, "more than one response");
                return Ok((status, body));
            }
        }
    }
}

/// Parses the status, where the body begins, and its length; `None` while the head is not complete.
fn head(response: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&response[..end]).context("the head is not UTF-8")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    });
    Ok(Some((status, end + 4, length.context("a response without content-length")?)))
}

//! A network that can be made bad: a TCP proxy between one process and one server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Every byte goes through.
    Calm,
    /// Connections are reset, and new ones too.
    Cut,
    /// Half-open: connections stay, new ones are made, and no byte comes through, nor any end of a stream.
    Silent,
    /// What is sent arrives that much later.
    Slow(Duration),
    /// The next thing sent on a connection arrives half, then the connection is reset.
    Torn,
}

/// A proxy. Dropping it ends it, and every connection through it.
pub(crate) struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one on a free port, to a server on this machine.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (weather, told) = watch::channel(Weather::Calm);
        let task = tokio::spawn(serve(listener, server, told));
        Self { port, weather, task }
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather, for connections that there are and for those that come.
    pub(crate) fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, weather: watch::Receiver<Weather>) {
    // Held here, so that they end with the proxy.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(carry(client, server, weather.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Cut {
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (weather.clone(), weather.clone());
    let both = async { tokio::try_join!(pump(from_client, to_server, up), pump(from_server, to_client, down)) };
    tokio::select! {
        _ = both => {}
        _ = weather.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

/// The connection is to be reset, not closed.
struct Reset;

/// Carries bytes one way until the stream ends.
async fn pump(mut from: OwnedReadHalf, to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) -> Result<(), Reset> {
    let mut to = Resetting { to, orderly: false };
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        let now = *weather.borrow_and_update();
        match now {
            Weather::Calm => {}
            Weather::Slow(delay) => tokio::time::sleep(delay).await,
            Weather::Torn => {
                let half = read.unwrap_or(0) / 2;
                let _ = to.to.write_all(&bytes[..half]).await;
                return Err(Reset);
            }
            Weather::Cut => return Err(Reset),
            // What was swallowed never arrives, so the connection cannot go on afterwards.
            Weather::Silent => {
                let _ = weather.wait_for(|weather| *weather != Weather::Silent).await;
                return Err(Reset);
            }
        }
        match read {
            Ok(0) => {
                to.orderly = to.to.shutdown().await.is_ok();
                return Ok(());
            }
            Ok(read) => to.to.write_all(&bytes[..read]).await.map_err(|_| Reset)?,
            Err(_) => return Err(Reset),
        }
    }
}

/// A stream that is reset when it is dropped before its end.
struct Resetting {
    to: OwnedWriteHalf,
    orderly: bool,
}

impl Drop for Resetting {
    fn drop(&mut self) {
        if !self.orderly {
            let _ = self.to.as_ref().set_zero_linger();
        }
    }
}

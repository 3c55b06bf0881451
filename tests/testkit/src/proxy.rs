//! A TCP proxy that fails the way networks do.
//!
//! A connection that met a fault stays faulty, as behind a firewall that lost its state; new connections work again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What the proxy does with connections and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Forward,
    /// Forwards everything after a delay.
    Delay(Duration),
    /// Forwards what contains that byte string after a delay.
    DelayAt(&'static [u8], Duration),
    /// Holds all bytes back until the mode changes, then forwards them.
    Held,
    /// Forwards nothing, not even a FIN. Accepts new connections and never answers on them. Ends with [`Mode::Closed`].
    Silent,
    /// [`Mode::Silent`] after that many reads from the server, counted per connection.
    SilentAfter(usize),
    /// Forwards nothing on the first connections, as many as this says; later ones are served. Ends with [`Mode::Closed`].
    SilentUpTo(usize),
    /// Closes every connection, new ones at once.
    Closed,
    /// Closes a connection after that many reads from the server.
    ClosedAfter(usize),
    /// Forwards half of the next read, then resets the connection.
    Torn,
    /// Replaces the first byte string by the second, which has the same length.
    Garbled(&'static [u8], &'static [u8]),
}

/// A proxy in front of one server. Dropping it closes its connections.
pub struct Proxy {
    /// The server's URL with the proxy's address.
    pub url: String,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of the server that the URL names.
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut url = url::Url::parse(server).expect("a URL");
        let target = (url.host_str().expect("a host").to_owned(), url.port().expect("a port"));
        url.set_port(Some(listener.local_addr().expect("an address").port())).expect("a URL with a port");
        let (mode, watched) = watch::channel(Mode::Forward);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                connections.spawn(serve(client, number, target.clone(), watched.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url: url.to_string(), mode, accepted, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Sets the mode, for open and for new connections.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Silences every connection accepted so far. New ones are served.
    pub fn silence_existing(&self) {
        self.set(Mode::SilentUpTo(self.accepted()));
    }

    /// The number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn serve(client: TcpStream, number: usize, target: (String, u16), mut mode: watch::Receiver<Mode>) {
    let at_first = *mode.borrow();
    match at_first {
        Mode::Closed => return,
        Mode::Silent => return until_closed(&mut mode).await,
        _ => {}
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // The end of one direction drops both sockets.
    tokio::select! {
        () = pass(from_client, to_server, mode.clone(), |mode| immediately(mode, number)) => {}
        () = pass(from_server, to_client, mode, |mode| after_reads(mode, number)) => {}
    }
}

/// After how many reads a direction of the connection with that number ends; this part is the same for both directions.
fn immediately(mode: Mode, number: usize) -> Option<usize> {
    match mode {
        Mode::Silent | Mode::Closed => Some(0),
        Mode::SilentUpTo(last) => (number <= last).then_some(0),
        _ => None,
    }
}

/// After how many reads from the server the direction to the client ends.
fn after_reads(mode: Mode, number: usize) -> Option<usize> {
    match mode {
        Mode::SilentAfter(reads) | Mode::ClosedAfter(reads) => Some(reads),
        _ => immediately(mode, number),
    }
}

/// Forwards one direction until the connection, the mode or the proxy ends it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    end: impl Fn(Mode) -> Option<usize>,
) {
    let (mut buffer, mut reads) = (vec![0; 64 * 1024], 0);
    loop {
        let mode = *modes.borrow_and_update();
        if end(mode).is_some_and(|max| reads >= max) {
            match mode {
                Mode::Silent | Mode::SilentAfter(_) | Mode::SilentUpTo(_) => return until_closed(&mut modes).await,
                _ => return,
            }
        }
        let read = tokio::select! {
            biased;
            changed = modes.changed() => if changed.is_ok() { continue } else { return },
            read = from.read(&mut buffer) => read,
        };
        let Ok(read @ 1..) = read else { return };
        reads += 1;
        let passed = if mode == Mode::Torn { read.div_ceil(2) } else { read };
        match mode {
            Mode::Delay(delay) => tokio::time::sleep(delay).await,
            Mode::DelayAt(what, delay) if contains(&buffer[..read], what) => tokio::time::sleep(delay).await,
            Mode::Held => drop(modes.wait_for(|mode| *mode != Mode::Held).await),
            Mode::Garbled(what, by) => garble(&mut buffer[..read], what, by),
            _ => {}
        }
        // A peer that does not read must not delay Mode::Closed.
        tokio::select! {
            written = to.write_all(&buffer[..passed]) => if written.is_err() { return },
            () = until_closed(&mut modes) => return,
        }
        if mode == Mode::Torn {
            let _ = (to.as_ref().set_zero_linger(), from.as_ref().set_zero_linger());
            return;
        }
    }
}

/// Waits for [`Mode::Closed`], or for the end of the proxy.
async fn until_closed(modes: &mut watch::Receiver<Mode>) {
    let _ = modes.wait_for(|mode| *mode == Mode::Closed).await;
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn garble(bytes: &mut [u8], what: &[u8], by: &[u8]) {
    while let Some(at) = bytes.windows(what.len()).position(|window| window == what) {
        bytes[at..at + by.len()].copy_from_slice(by);
    }
}

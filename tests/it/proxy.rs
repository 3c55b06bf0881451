//! A TCP proxy of the tests' own, which fails the way networks do.
//! A connection that was harmed stays so, as behind a firewall that has lost its state; new ones get through again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They get through.
    Forward,
    /// They get through, that much later.
    Delay(Duration),
    /// None gets through until the mode changes; then all of them do.
    FieldValue,
    /// None gets through, and no FIN. New connections are accepted, and hear nothing. So it stays until they are closed.
    Silent,
    /// The same once the server has said something so many times on a connection.
    SilentAfter(usize),
    /// Connections are closed, new ones too.
    Closed,
    /// A connection is closed once the server has said something so many times on it.
    ClosedAfter(usize),
    /// Half of what comes next gets through, then the connection is reset.
    Torn,
    /// Bytes that stand for others are replaced by those: from, to.
    Garbled(&'static [u8], &'static [u8]),
}

/// A proxy in front of a server. Dropping it ends its connections.
pub(crate) struct Proxy {
    /// The server's URL, by way of the proxy.
    pub(crate) url: String,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Starts one in front of the server that a URL names.
    pub(crate) async fn before(server: &str) -> Self {
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
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(client, target.clone(), watched.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url: url.to_string(), mode, accepted, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Fails that way from now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections it has accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn serve(client: TcpStream, target: (String, u16), mut mode: watch::Receiver<Mode>) {
    let at_first = *mode.borrow();
    match at_first {
        Mode::Closed => return,
        Mode::Silent => return until_closed(&mut mode).await,
        _ => {}
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // When one way has come to its end, both halves of both connections are dropped, and with them the sockets.
    tokio::select! {
        () = pass(from_client, to_server, mode.clone(), at_once) => {}
        () = pass(from_server, to_client, mode, after_answers) => {}
    }
}

/// After how much it is over on a way, as far as both ways are alike.
fn at_once(mode: Mode) -> Option<usize> {
    matches!(mode, Mode::Silent | Mode::Closed).then_some(0)
}

fn after_answers(mode: Mode) -> Option<usize> {
    match mode {
        Mode::SilentAfter(answers) | Mode::ClosedAfter(answers) => Some(answers),
        _ => at_once(mode),
    }
}

/// Passes on what comes, until an end of the connection, or the proxy, ends it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    end: fn(Mode) -> Option<usize>,
) {
    let (mut buffer, mut said) = (vec![0; 16 * 1024], 0);
    loop {
        let mode = *modes.borrow_and_update();
        if end(mode).is_some_and(|most| said >= most) {
            match mode {
                Mode::Silent | Mode::SilentAfter(_) => return until_closed(&mut modes).await,
                _ => return,
            }
        }
        let read = tokio::select! {
            biased;
            changed = modes.changed() => if changed.is_ok() { continue } else { return },
            read = from.read(&mut buffer) => read,
        };
        let Ok(read @ 1..) = read else { return };
        said += 1;
        let passed = if mode == Mode::Torn { read.div_ceil(2) } else { read };
        match mode {
            Mode::Delay(delay) => tokio::time::sleep(delay).await,
            Mode::FieldValue => drop(modes.wait_for(|mode| *mode != Mode::FieldValue).await),
            Mode::Garbled(what, by) => garble(&mut buffer[..read], what, by),
            _ => {}
        }
        // Whoever does not read must not keep the connection from being cut.
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

/// Until connections are closed, or the proxy is no more.
async fn until_closed(modes: &mut watch::Receiver<Mode>) {
    let _ = modes.wait_for(|mode| *mode == Mode::Closed).await;
}

fn garble(bytes: &mut [u8], what: &[u8], by: &[u8]) {
    while let Some(at) = bytes.windows(what.len()).position(|window| window == what) {
        bytes[at..at + by.len()].copy_from_slice(by);
    }
}

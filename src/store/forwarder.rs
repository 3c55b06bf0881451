//! The way from sqlx to PostgreSQL over TLS, without a wait of 40 ms in each large statement.
//!
//! sqlx 0.9.0 does not set `TCP_NODELAY` (<https://github.com/transact-rs/sqlx/issues/4335>). Over TLS it writes a large statement
//! in several pieces, and the kernel holds back the last one until the server has acknowledged the others, which the server delays.
//! So sqlx connects to a Unix socket of this process, and the bytes are copied to and from a TCP connection with the option. sqlx
//! negotiates TLS over it as ever, and verifies the server's name. Remove this file once sqlx sets the option.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, copy_buf};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use uuid::Uuid;

/// Of each direction of a connection: two TLS records.
const BUFFER_BYTES: usize = 32_768;
/// Between two attempts to reach a server that refuses connections, for example because it is starting.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// An idle connection whose server has vanished ends after 25 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// Accepts connections of this process, and forwards them. Dropping it closes them.
pub(super) struct Forwarder {
    server: Server,
    directory: PathBuf,
    _accepting: AbortOnDropHandle<()>,
}

/// Where PostgreSQL listens, and how long to try to reach it.
#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
    deadline: Duration,
}

impl Forwarder {
    /// Starts one, if connections with `options` need it. `deadline` is how long a connection may take to be made.
    pub(super) fn start(options: &PgConnectOptions, deadline: Duration) -> Option<Self> {
        let host = options.get_host();
        let is_tcp = options.get_socket().is_none() && !host.starts_with('/');
        // Only Linux has sockets without a file.
        if !cfg!(target_os = "linux") || !is_tcp || matches!(options.get_ssl_mode(), PgSslMode::Disable) {
            return None;
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let server = Server { host, port: options.get_port(), deadline };
        Self::listen(server).inspect_err(|error| warn!(%error, "no Unix socket: TLS to PostgreSQL will be slow")).ok()
    }

    fn listen(server: Server) -> io::Result<Self> {
        // A name that begins with NUL has no file.
        let directory = PathBuf::from(format!("\0banklink-{}", Uuid::new_v4().simple()));
        let listener = UnixListener::bind(directory.join(format!(".s.PGSQL.{}", server.port)))?;
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, server.clone())));
        Ok(Self { server, directory, _accepting: accepting })
    }

    /// The directory of the socket, as sqlx wants it.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Connects to the server once, and returns the error if that fails.
    pub(super) async fn reach(&self) -> io::Result<()> {
        self.server.connect().await.map(drop)
    }
}

impl Server {
    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
        Ok(stream)
    }

    /// Connects as soon as the server accepts, until the deadline: the pool does the same, and then asks for the reason.
    async fn connect_patiently(&self) -> Option<TcpStream> {
        let connected = async {
            loop {
                match self.connect().await {
                    Ok(stream) => return stream,
                    Err(_) => sleep(RETRY_INTERVAL).await,
                }
            }
        };
        timeout(self.deadline, connected).await.ok()
    }
}

async fn accept(listener: UnixListener, server: Server) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((near, _)) if is_own(&near) => drop(connections.spawn(forward(near, server.clone()))),
                Ok(_) => {}
                // No file descriptor is free.
                Err(_) => sleep(RETRY_INTERVAL).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Whether this process connected. Any process on the machine can, and would reach a server that may trust this host.
fn is_own(near: &UnixStream) -> bool {
    near.peer_cred().is_ok_and(|peer| peer.pid() == i32::try_from(std::process::id()).ok())
}

/// Copies until one side ends: PostgreSQL's protocol has no connections that are open in one direction.
async fn forward(mut near: UnixStream, server: Server) {
    let Some(mut far) = server.connect_patiently().await else { return };
    let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
    tokio::select! {
        () = copy(near_read, far_write) => {}
        () = copy(far_read, near_write) => {}
    }
}

/// Copies all that `from` sends. An error ends the connection as its end does: sqlx sees the end, and PostgreSQL, too.
async fn copy(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let _ = copy_buf(&mut BufReader::with_capacity(BUFFER_BYTES, from), &mut to).await;
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use sea_orm::sqlx::postgres::PgConnectOptions;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::process::Command;

    use super::*;

    /// A server that answers every connection with "hello", once it has read a byte, and the forwarder to it.
    async fn hello() -> (Forwarder, PathBuf, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if client.read_u8().await.is_ok() {
                    client.write_all(b"hello").await.unwrap();
                }
            }
        }));
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port).ssl_mode(PgSslMode::Require);
        let forwarder = Forwarder::start(&options, Duration::from_secs(5)).unwrap();
        let socket = forwarder.directory().join(format!(".s.PGSQL.{port}"));
        (forwarder, socket, serving)
    }

    #[tokio::test]
    async fn bytes_go_both_ways_until_one_side_ends_and_small_ones_are_sent_at_once() {
        let (forwarder, socket, _serving) = hello().await;
        let (mut client, mut answer) = (UnixStream::connect(&socket).await.unwrap(), String::new());
        client.write_all(b"?").await.unwrap();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "hello");
        assert!(forwarder.server.connect().await.unwrap().nodelay().unwrap());
    }

    #[tokio::test]
    async fn another_process_is_not_forwarded() {
        let (_forwarder, socket, _serving) = hello().await;
        let name = socket.to_str().unwrap().trim_start_matches('\0');
        let script = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); \
             connect(S, pack('S a*', AF_UNIX, \"\\0$ARGV[0]\")) or die $!; $SIG{PIPE} = 'IGNORE'; \
             syswrite(S, '?'); my $read = sysread(S, my $answer, 5); print $read // 0, ' bytes'";
        let output = Command::new("perl").args(["-e", script, name]).stdin(Stdio::null()).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0 bytes", "{output:?}");
    }

    #[tokio::test]
    async fn a_dropped_forwarder_closes_its_connections() {
        let (forwarder, socket, _serving) = hello().await;
        let mut client = UnixStream::connect(&socket).await.unwrap();
        drop(forwarder);
        assert_eq!(client.read(&mut [0]).await.unwrap_or_default(), 0);
    }

    #[test]
    fn only_tls_over_tcp_needs_one() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _guard = runtime.enter();
        let options = PgConnectOptions::new_without_pgpass().host("db.example");
        for (options, starts) in [
            (options.clone().ssl_mode(PgSslMode::VerifyFull), true),
            (options.clone().ssl_mode(PgSslMode::Prefer), true),
            (options.clone().ssl_mode(PgSslMode::Disable), false),
            (options.clone().host("/run/postgresql"), false),
            (options.socket("/run/postgresql"), false),
        ] {
            assert_eq!(Forwarder::start(&options, Duration::from_secs(1)).is_some(), starts, "{options:?}");
        }
    }
}

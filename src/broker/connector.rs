//! Connects within a deadline, and leaves no thread or socket behind when that fails.
//!
//! lapin runs each attempt on a thread of its own. With lapin 4.12.3 and a server that accepts TCP and then stays
//! silent, that thread was observed to wait without end, even after the attempt's future was dropped; only the end of
//! its socket ends it. No upstream issue was found. So [`Attempt`] keeps a second handle to the socket until the
//! attempt succeeds. It can go once dropping lapin's future ends its thread.
//!
//! When the server closes the socket during the handshake, lapin 4.12.3 was observed not to report that in every case;
//! <https://github.com/amqp-rs/lapin/issues/470> has fixed one. `until_closed` can go once lapin always does.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::deadline::within;
use super::error::Error;
use super::purpose::Purpose;

/// How often the socket of an attempt is polled for a close by the server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Connects and logs in.
///
/// # Errors
/// - [`Error::Amqp`] when RabbitMQ cannot be reached, rejects us, or closes the connection.
/// - [`Error::TimedOut`] when it does not answer within the address's deadline.
pub(super) async fn connect(address: &Address, purpose: Purpose) -> Result<Connection, Error> {
    let name = format!("banklink {}", purpose.as_str());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let deadline = address.deadline();
    let attempt = Attempt::default();
    let socket = Arc::clone(&attempt.0);
    let runtime = lapin::runtime::default_runtime()?;
    let connecting = Connection::connector(
        address.uri(),
        runtime,
        async move |uri, runtime| {
            let dialling = async {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
                let stream = plain.connect_with_config_async(TLSConfig::default(), &runtime).await?;
                let AsyncTcpStream::Plain(tcp) = &stream else { return Err(io::ErrorKind::Unsupported.into()) };
                register(&socket, tcp.get_ref().as_fd().try_clone_to_owned()?.into())?;
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await,
                }
            };
            // lapin's thread awaits this even after the attempt is abandoned, so it has a deadline of its own.
            let dialled: io::Result<_> = timeout(deadline, dialling).await.map_err(io::Error::from)?;
            Ok(dialled?)
        },
        properties,
    );
    let connection = tokio::select! {
        biased;
        connection = within(deadline, connecting) => connection?,
        closed = until_closed(&attempt.0) => return Err(closed),
    };
    attempt.release();
    Ok(connection)
}

/// An attempt to connect. Dropping it shuts its socket down, which ends lapin's thread.
#[derive(Default)]
struct Attempt(Arc<Mutex<Socket>>);

#[derive(Default)]
enum Socket {
    /// Not connected yet.
    #[default]
    Pending,
    /// Connected; the attempt goes on.
    Open(TcpStream),
    /// The attempt has succeeded or was abandoned.
    Released,
}

impl Attempt {
    /// Leaves the socket to lapin.
    fn release(&self) {
        replace(&self.0, Socket::Released);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Socket::Open(socket) = replace(&self.0, Socket::Released) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Waits until RabbitMQ has closed the socket during the handshake.
async fn until_closed(socket: &Mutex<Socket>) -> Error {
    loop {
        sleep(POLL_INTERVAL).await;
        if is_closed(&lock(socket)) {
            // If RabbitMQ gave a reason before it closed the socket, lapin returns that one now.
            sleep(POLL_INTERVAL).await;
            return Error::Amqp("the connection was closed during the handshake".to_owned());
        }
    }
}

/// The socket is non-blocking, and peeking leaves what was received to lapin.
fn is_closed(socket: &Socket) -> bool {
    let Socket::Open(socket) = socket else { return false };
    match socket.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Keeps the socket of an attempt, unless the attempt was abandoned while it connected.
fn register(socket: &Mutex<Socket>, connected: TcpStream) -> io::Result<()> {
    match replace(socket, Socket::Open(connected)) {
        Socket::Released => Err(io::ErrorKind::TimedOut.into()),
        Socket::Pending | Socket::Open(_) => Ok(()),
    }
}

fn replace(socket: &Mutex<Socket>, by: Socket) -> Socket {
    std::mem::replace(&mut *lock(socket), by)
}

fn lock(socket: &Mutex<Socket>) -> MutexGuard<'_, Socket> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}

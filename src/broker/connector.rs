//! Makes a connection within a deadline, and leaves nothing behind when there is none.
//!
//! lapin starts a thread for each attempt. Against a broker that accepts TCP and then says nothing, that thread waits for
//! ever, also when nobody waits for it any more; only the end of its socket ends it. So the socket is kept at hand here.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::{Address, DEADLINE, Error, Purpose, with_deadline};

/// How often it is looked whether the socket of an attempt is still open.
const LOOK: Duration = Duration::from_millis(100);

/// Connects.
///
/// # Errors
/// When RabbitMQ cannot be reached, refuses us, or does not answer in time.
pub(super) async fn connect(address: &Address, purpose: Purpose) -> Result<Connection, Error> {
    let name = format!("banklink {}", purpose.as_str());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let attempt = Attempt::default();
    let socket = Arc::clone(&attempt.0);
    let runtime = lapin::runtime::default_runtime()?;
    let connected = Connection::connector(
        address.uri(),
        runtime,
        async move |uri, runtime| {
            let dialled = async {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
                let stream = plain.connect_with_config_async(TLSConfig::default(), &runtime).await?;
                let AsyncTcpStream::Plain(tcp) = &stream else { return Err(io::ErrorKind::Unsupported.into()) };
                remember(&socket, tcp.get_ref().as_fd().try_clone_to_owned()?.into())?;
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await,
                }
            };
            // lapin's thread waits for this, whoever has given up: a network that swallows packets must not hold it.
            let dialled: io::Result<_> = tokio::time::timeout(DEADLINE, dialled).await.map_err(io::Error::from)?;
            Ok(dialled?)
        },
        properties,
    );
    let connection = tokio::select! {
        biased;
        connection = with_deadline(connected) => connection?,
        closed = closed(&attempt.0) => return Err(closed),
    };
    attempt.succeeded();
    Ok(connection)
}

/// An attempt to connect. Dropping it ends its socket, and so lapin's thread.
#[derive(Default)]
struct Attempt(Arc<Mutex<Socket>>);

#[derive(Default)]
enum Socket {
    /// There is none yet.
    #[default]
    Awaited,
    /// There is one.
    Open(TcpStream),
    /// None is wanted any more.
    Unwanted,
}

impl Attempt {
    /// Lets the socket live: it is lapin's alone now.
    fn succeeded(&self) {
        replace(&self.0, Socket::Unwanted);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Socket::Open(socket) = replace(&self.0, Socket::Unwanted) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Waits until RabbitMQ has closed the socket: in the middle of the handshake, lapin tells nobody.
async fn closed(socket: &Mutex<Socket>) -> Error {
    loop {
        tokio::time::sleep(LOOK).await;
        if is_closed(&lock(socket)) {
            // What lapin has been told before, it tells now: that is the better reason.
            tokio::time::sleep(LOOK).await;
            return Error::Amqp("it closed the connection in the middle of the handshake".to_owned());
        }
    }
}

/// The socket does not block, and what there is to be read stays there.
fn is_closed(socket: &Socket) -> bool {
    let Socket::Open(socket) = socket else { return false };
    match socket.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn remember(socket: &Mutex<Socket>, open: TcpStream) -> io::Result<()> {
    match replace(socket, Socket::Open(open)) {
        Socket::Unwanted => Err(io::ErrorKind::TimedOut.into()),
        Socket::Awaited | Socket::Open(_) => Ok(()),
    }
}

fn replace(socket: &Mutex<Socket>, by: Socket) -> Socket {
    std::mem::replace(&mut *lock(socket), by)
}

fn lock(socket: &Mutex<Socket>) -> MutexGuard<'_, Socket> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}

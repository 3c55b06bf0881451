//! RabbitMQ's address, and connecting to it: within a deadline, and without a thread or socket left behind on failure.
//!
//! lapin runs each attempt on a thread of its own. With lapin 4.12.3 and a server that accepts TCP and then stays
//! silent, that thread was observed to wait without end, even after the attempt's future was dropped; only the end of
//! its socket ends it. No upstream issue was found. So [`Attempt`] keeps a second handle to the socket until it succeeds,
//! and can go once dropping lapin's future ends its thread.
//!
//! When the server closes the socket during the handshake, lapin 4.12.3 was observed not to report that in every case;
//! <https://github.com/amqp-rs/lapin/issues/470> has fixed one. `until_closed` can go once lapin always does.

use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::time::{sleep, timeout};
use url::{Host, Url};

use super::error::{Error, REQUEST_DEADLINE, within};
use super::spans::Server;
use crate::failpoints;

/// Seconds between heartbeats unless the URL has a `heartbeat` parameter. Silence is detected within two of them.
const DEFAULT_HEARTBEAT: u16 = 10;
/// How often the socket of an attempt is polled for a close by the server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Where RabbitMQ is, and the credentials for it. Has no `Debug` because it holds a password.
#[derive(Clone)]
pub struct Address {
    pub(super) uri: AMQPUri,
    /// For connecting, and for each request.
    pub(super) deadline: Duration,
}

impl Address {
    /// Parses an `amqp://` or `amqps://` URL; `None` if `url` is not one.
    ///
    /// The host of an IPv6 URL is read here: amq-protocol-uri 10.6.3 takes it for localhost, and the password would go there. No
    /// upstream issue was found; remove it once that crate reads IPv6 addresses.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let mut uri = AMQPUri::from_str(url).ok()?;
        if let Some(Host::Ipv6(ip)) = Url::parse(url).ok()?.host() {
            uri.authority.host = ip.to_string();
        }
        uri.query.heartbeat = Some(heartbeat_to_request(uri.query.heartbeat.unwrap_or(DEFAULT_HEARTBEAT)));
        Some(Self { uri, deadline: failpoints::shortened_for_tests(REQUEST_DEADLINE) })
    }

    /// Where it leads, without the credentials.
    pub(super) fn server(&self) -> Server {
        let AMQPAuthority { host, port, .. } = &self.uri.authority;
        Server { host: host.clone(), port: *port }
    }

    /// The same address with another deadline than [`REQUEST_DEADLINE`], so that tests need not wait for it.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Whether the credentials and messages cross a network unencrypted.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let host = &self.uri.authority.host;
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.uri.scheme == AMQPScheme::AMQP && !is_loopback
    }

    /// The user and the password.
    #[must_use]
    pub fn credentials(&self) -> (&str, &str) {
        let user = &self.uri.authority.userinfo;
        (&user.username, &user.password)
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }
}

/// The heartbeat to request from RabbitMQ, in seconds, so that silence is detected within two heartbeats of `wanted`
/// seconds: four fifths of it. 0 means no heartbeat and stays 0.
///
/// lapin 4.12.3 checks only once per half heartbeat whether two have passed (`src/heartbeat.rs`), so it may detect
/// silence half a heartbeat late. No upstream issue was found. Request `wanted` itself once lapin checks exactly.
fn heartbeat_to_request(wanted: u16) -> u16 {
    if wanted == 0 { 0 } else { (wanted - wanted.div_ceil(5)).max(1) }
}

/// What a connection is for.
///
/// While RabbitMQ blocks a connection, lapin writes nothing on it, acknowledgements included, as
/// <https://github.com/amqp-rs/lapin/issues/443> confirms; so publishing and consuming do not share one.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Publishing.
    Publish,
    /// Consuming the work queue.
    Consume,
    /// Consuming the dead queue. RabbitMQ accepts a short string that is not UTF-8; lapin drops the whole connection on
    /// it, and upstream considers such a string invalid (<https://github.com/amqp-rs/amq-protocol/issues/28>). Recording
    /// can share the connection for consuming once such a message costs lapin at most a channel.
    Record,
    /// Consuming events, as a subscriber.
    Subscribe,
}

impl Purpose {
    /// The name in logs and in RabbitMQ's list of connections.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Record => "record",
            Self::Subscribe => "subscribe",
        }
    }
}

/// Connects and logs in. Fails with [`Error::TimedOut`] after the address's deadline, and with [`Error::Amqp`] when
/// RabbitMQ cannot be reached, rejects us, or closes the connection.
pub(super) async fn connect(address: &Address, purpose: Purpose) -> Result<Connection, Error> {
    let name = format!("banklink {}", purpose.as_str());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let deadline = address.deadline;
    let attempt = Arc::new(Attempt::default());
    let pending = Arc::downgrade(&attempt);
    let runtime = lapin::runtime::default_runtime()?;
    let connecting = Connection::connector(
        address.uri.clone(),
        runtime,
        async move |uri, runtime| {
            let dialling = async {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
                let stream = plain.connect_with_config_async(TLSConfig::default(), &runtime).await?;
                let AsyncTcpStream::Plain(tcp) = &stream else { return Err(io::ErrorKind::Unsupported.into()) };
                let socket = tcp.get_ref().as_fd().try_clone_to_owned()?.into();
                // The attempt is gone if it was abandoned meanwhile. lapin may dial twice; the later socket counts.
                *pending.upgrade().ok_or(io::ErrorKind::TimedOut)?.socket() = Some(socket);
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
        closed = until_closed(&attempt) => return Err(closed),
    };
    // The attempt has succeeded: the socket is left to lapin.
    drop(attempt.socket().take());
    Ok(connection)
}

/// The socket of an attempt to connect, once there is one. Dropping it shuts the socket down, which ends lapin's thread.
#[derive(Default)]
struct Attempt(Mutex<Option<TcpStream>>);

impl Attempt {
    fn socket(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(socket) = &*self.socket() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Waits until RabbitMQ has closed the socket during the handshake.
async fn until_closed(attempt: &Attempt) -> Error {
    loop {
        sleep(POLL_INTERVAL).await;
        if attempt.socket().as_ref().is_some_and(is_closed) {
            // If RabbitMQ gave a reason before it closed the socket, lapin returns that one now.
            sleep(POLL_INTERVAL).await;
            return Error::Amqp("the connection was closed during the handshake".to_owned());
        }
    }
}

/// The socket is non-blocking, and peeking leaves what was received to lapin.
fn is_closed(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_and_a_half_requested_heartbeats_are_at_most_two_wanted_ones() {
        assert_eq!([0, 1, 2, 4, 10, 60].map(heartbeat_to_request), [0, 1, 1, 3, 8, 48]);
        for wanted in 2..=u16::MAX {
            let requested = heartbeat_to_request(wanted);
            assert!(requested > 0 && u32::from(requested) * 5 <= u32::from(wanted) * 4, "{wanted}: {requested}");
        }
    }

    #[test]
    fn the_host_may_be_a_name_or_an_address_of_either_family() {
        let host = |url: &str| Address::parse(url).map(|address| address.uri.authority.host);
        for (url, expected) in [
            ("amqp://u:p@[::1]:5672/%2f", "::1"),
            ("amqps://u:p@[2001:db8::7]", "2001:db8::7"),
            ("amqp://127.0.0.1", "127.0.0.1"),
            ("amqp://rabbit.example", "rabbit.example"),
        ] {
            assert_eq!(host(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn the_heartbeat_is_ten_seconds_unless_the_url_sets_another() {
        let requested = |url: &str| Address::parse(url).and_then(|address| address.uri.query.heartbeat);
        assert_eq!(requested("amqp://localhost"), Some(8));
        assert_eq!(requested("amqp://localhost/%2f?heartbeat=5"), Some(4));
    }
}

//! The version of RabbitMQ, as it announces it when a client connects, and what is known about that version.
//!
//! lapin 4.12.3 reads it and does not pass it on; no upstream issue was found. So it is asked for on a connection of its own, which
//! ends before the login. Ask lapin once `Connection` has the properties of the server.

use futures_util::{AsyncReadExt, AsyncWriteExt};
use lapin::tcp::{AMQPUriTcpExt, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use tokio::time::timeout;

use super::connector::Address;
use super::error::Error;

/// How a client begins: AMQP 0-9-1, section 4.2.2.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// The table entry `version` with a long string: AMQP 0-9-1, section 4.2.5.
const VERSION_ENTRY: &[u8] = b"\x07versionS";
/// Maximum size of RabbitMQ's first frame. It has about 500 bytes.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The version of the RabbitMQ at `address`, such as `4.3.6`.
///
/// # Errors
/// [`Error::TimedOut`] after the address's deadline; [`Error::Amqp`] when the server cannot be reached, or names no version.
pub async fn server_version(address: &Address) -> Result<String, Error> {
    let read = timeout(address.deadline, first_frame(&address.uri)).await.map_err(|_| Error::TimedOut)?;
    let frame = read.map_err(|error| Error::Amqp(error.to_string()))?;
    version_in(&frame).ok_or_else(|| Error::Amqp("the server names no version".to_owned()))
}

async fn first_frame(uri: &AMQPUri) -> std::io::Result<Vec<u8>> {
    let runtime = lapin::runtime::default_runtime().map_err(std::io::Error::other)?;
    let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
    let stream = plain.connect_with_config_async(TLSConfig::default(), &runtime).await?;
    let mut stream = match uri.scheme {
        AMQPScheme::AMQP => stream,
        AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await?,
    };
    stream.write_all(PROTOCOL_HEADER).await?;
    stream.flush().await?;
    // Type (1 byte), channel (2), size of the payload (4).
    let mut header = [0; 7];
    stream.read_exact(&mut header).await?;
    let [_, _, _, size @ ..] = header;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX).min(MAX_FRAME_BYTES)];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

fn version_in(frame: &[u8]) -> Option<String> {
    let at = frame.windows(VERSION_ENTRY.len()).position(|window| window == VERSION_ENTRY)?;
    let (length, text) = frame[at + VERSION_ENTRY.len()..].split_first_chunk::<4>()?;
    let text = text.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    String::from_utf8(text.to_vec()).ok()
}

/// What is known against a version of RabbitMQ, and what to do; `None` if nothing is. A version that cannot be read is not judged.
#[must_use]
pub fn known_defect(version: &str) -> Option<(&'static str, &'static str)> {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0));
    match (major, minor, patch) {
        // https://github.com/rabbitmq/ra/pull/637 and https://github.com/rabbitmq/rabbitmq-server/pull/16652
        (4, 3, 0..=2) => Some((
            "4.3.0 to 4.3.2 may commit a message before a majority of nodes has it, and at-least-once dead-lettering may get stuck",
            "upgrade to 4.3.5 or later",
        )),
        (4, 3, 3..=4) => Some(("security advisories are published for this version", "upgrade to 4.3.5 or later")),
        (..4, ..) | (4, ..2, _) | (4, 2, ..10) => {
            Some(("security advisories are published for this version", "upgrade to 4.2.10, to 4.3.5, or later"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_and_a_cut_frame_is_not() {
        let frame = [b"....\x07versionS\x00\x00\x00\x054.3.6", b"\x08platformS\x00\x00".as_slice()].concat();
        assert_eq!(version_in(&frame).as_deref(), Some("4.3.6"));
        for cut in 0..frame.len() - 13 {
            assert_eq!(version_in(&frame[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn versions_with_defects_are_known() {
        for version in ["3.10.8", "3.13.7", "4.0.9", "4.1.8", "4.2.9", "4.3.0", "4.3.2", "4.3.4", "4.3.0-rc.1"] {
            assert!(known_defect(version).is_some(), "{version}");
        }
        for version in ["4.2.10", "4.2.11", "4.3.5", "4.3.10", "4.4.0", "5.0.0", "unknown"] {
            assert_eq!(known_defect(version), None, "{version}");
        }
        assert_ne!(known_defect("4.3.2"), known_defect("4.3.3"));
    }
}

//! HTTP/1.1 over a plain socket, for requests that no HTTP client sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::waiting::within;
use crate::{SECRET, fixtures};

/// How long Lean waits for an answer.
const LEANS_DEADLINE: Duration = Duration::from_secs(10);

/// The first lines of a post to the ingress.
pub const REQUEST_HEAD: &str = "POST /webhooks/lean HTTP/1.1\r\nhost: x\r\n";

/// The address in the URL of an ingress.
#[must_use]
pub fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").split('/').next().unwrap_or_default().parse().expect("an address")
}

/// Opens a connection and sends `bytes`.
pub async fn send(url: &str, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = within(TcpStream::connect(address(url))).await.expect("a connection");
    within(stream.write_all(bytes.as_ref())).await.expect("sent");
    stream
}

/// Sends `bytes` over a new connection, and returns the status of each answer until the ingress closes it.
pub async fn statuses_for(url: &str, bytes: impl AsRef<[u8]>) -> Vec<String> {
    statuses(&read_to_end(&mut send(url, bytes).await).await)
}

/// Everything that arrives until the connection is closed or breaks.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let (mut answers, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = within(stream.read(&mut buffer)).await {
        answers.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answers).into_owned()
}

/// The status codes in `answers`.
#[must_use]
pub fn statuses(answers: &str) -> Vec<String> {
    let status = |answer: &str| answer.split(' ').next().unwrap_or_default().to_owned();
    answers.split("HTTP/1.1 ").skip(1).map(status).collect()
}

/// Whether the connection is open and nothing has arrived on it.
#[must_use]
pub fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// A complete post with a valid signature.
#[must_use]
pub fn signed_post(body: &str) -> String {
    let signature = fixtures::signature(SECRET, body.as_bytes());
    format!("{REQUEST_HEAD}lean-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Sends a signed post up to its body, and waits until the ingress is ready to read the body.
pub async fn send_without_body(url: &str, body: &str) -> TcpStream {
    let post = signed_post(body).replace("\r\nhost", "\r\nexpect: 100-continue\r\nhost");
    let (head, _) = post.split_once("\r\n\r\n").expect("a head and a body");
    let mut stream = send(url, format!("{head}\r\n\r\n")).await;
    assert_continue(&mut stream).await;
    stream
}

/// Reads the interim answer to `expect: 100-continue`.
pub async fn assert_continue(stream: &mut TcpStream) {
    let mut interim = [0; 25];
    within(stream.read_exact(&mut interim)).await.expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Asserts that valid posts, each over a new connection, are accepted before Lean's deadline.
pub async fn assert_valid_posts_are_accepted(url: &str) {
    let body = fixtures::seed().to_string();
    let signature = fixtures::signature(SECRET, body.as_bytes());
    for _ in 0..20 {
        let client = reqwest::Client::builder().timeout(LEANS_DEADLINE).build().expect("a client");
        let post = client.post(url).header("lean-signature", &signature).body(body.clone());
        assert_eq!(post.send().await.expect("an answer").status(), 200);
    }
}

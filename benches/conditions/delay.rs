//! A TCP proxy that delays everything by half a round trip in each direction.
//!
//! `tc netem` would do the same in the kernel, but needs root and a kernel module. Threads instead of tasks: tokio's timers count in
//! milliseconds.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Maximum number of chunks that are under way in one direction of a connection.
const CHUNKS: usize = 1024;
const CHUNK_BYTES: usize = 64 * 1024;

/// Listens until the program ends, and returns the address. Each connection leads to `server`.
pub(super) fn start(server: SocketAddr, round_trip: Duration) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming() {
            // The program sees a connection that ends.
            let _ = client.and_then(|client| forward(&client, server, round_trip / 2));
        }
    });
    Ok(address)
}

fn forward(client: &TcpStream, server: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for (from, to) in [(client, &server), (&server, client)] {
        let (from, to, (sender, receiver)) = (from.try_clone()?, to.try_clone()?, sync_channel(CHUNKS));
        to.set_nodelay(true)?;
        thread::spawn(move || receive(from, &sender, delay));
        thread::spawn(move || send(to, &receiver));
    }
    Ok(())
}

/// Reads until the end, and notes for each chunk when it is due on the other side.
fn receive(mut from: TcpStream, chunks: &SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if chunks.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
}

fn send(mut to: TcpStream, chunks: &Receiver<(Instant, Vec<u8>)>) {
    for (due, chunk) in chunks {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

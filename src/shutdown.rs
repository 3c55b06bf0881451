//! Graceful shutdown: a token that SIGTERM or SIGINT cancels. It ends waiting, and never interrupts begun work.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A SIGINT this soon after the first signal does not abort: a parent of the process may forward the terminal's Ctrl-C.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Returns a token that the first SIGTERM or SIGINT cancels. A later SIGINT ends the process at once with status 1.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal, "shutting down: finishing what is in flight");
        stop.cancel();
        let first = Instant::now();
        while first.elapsed() < SAME_SIGNAL {
            interrupt.recv().await;
        }
        warn!("aborted by a second signal; RabbitMQ delivers unacknowledged messages again");
        std::process::exit(1);
    });
    Ok(token)
}

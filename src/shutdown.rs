//! Graceful shutdown: a token that SIGTERM, SIGINT or SIGHUP cancels. It ends waiting, and never interrupts begun work.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A SIGINT this soon after the first signal does not abort: a parent of the process may forward the terminal's Ctrl-C.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// What a signal cancels.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Cancelled by the first SIGTERM, SIGINT or SIGHUP.
    pub stop: CancellationToken,
    /// Cancelled by SIGHUP, just before `stop`, if that is the first signal: the terminal was closed.
    pub hangup: CancellationToken,
}

/// Returns a token that the first SIGTERM, SIGINT or SIGHUP (the terminal was closed) cancels. A later SIGINT ends the process at once with status 1.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    Ok(signals()?.stop)
}

/// As [`on_signal`], for a command that treats a closed terminal in another way.
///
/// # Errors
/// As [`on_signal`].
pub fn signals() -> std::io::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let signals = Signals { stop: CancellationToken::new(), hangup: CancellationToken::new() };
    let cancelled = signals.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => "SIGHUP",
        };
        info!(signal, "shutting down: finishing what is in flight");
        if signal == "SIGHUP" {
            cancelled.hangup.cancel();
        }
        cancelled.stop.cancel();
        let first = Instant::now();
        while first.elapsed() < SAME_SIGNAL {
            interrupt.recv().await;
        }
        warn!("aborted by a second signal; RabbitMQ delivers unacknowledged messages again");
        std::process::exit(1);
    });
    Ok(signals)
}

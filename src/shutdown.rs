//! The end of the program: a token that SIGTERM or SIGINT cancels. It cancels waiting, never work.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How soon after the first signal another is taken for the same one, sent to the process and its group alike.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// A token that is cancelled by the first SIGTERM or SIGINT. A later SIGINT, from somebody at a terminal who cannot wait for
/// the drain, ends the process at once.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let first = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = first, "stopping: no new work, what is in hand is finished");
        cancelled.cancel();
        let since = Instant::now();
        while since.elapsed() < SAME_SIGNAL {
            interrupt.recv().await;
        }
        tracing::warn!("stopping at once: what was in hand comes back from the broker");
        std::process::exit(1);
    });
    Ok(token)
}

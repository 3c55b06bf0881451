//! The deadline of each request to RabbitMQ.

use std::time::Duration;

use super::error::Error;

/// How long RabbitMQ may take to answer one request before its channel counts as lost, unless
/// [`Address::with_deadline`](super::Address::with_deadline) sets another time.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for an answer of lapin's for at most `deadline`. lapin itself has no deadline for a request.
///
/// # Errors
/// [`Error::TimedOut`] after the deadline; else the error that lapin reports.
pub(super) async fn within<T>(deadline: Duration, answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
    Ok(tokio::time::timeout(deadline, answer).await.map_err(|_| Error::TimedOut)??)
}

//! Tests poll for a condition with a deadline; they never sleep and hope.

use std::time::Duration;

/// Deadline of every wait. Generous, because it bounds only how long a failing test takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Polls `condition` until it returns a value, and returns that. `what` names the condition in the panic message.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Polls `condition` until it holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    eventually(what, async || condition().await.then_some(())).await;
}

/// Awaits `work`, and panics if it does not end before the deadline.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    named_within("it", work).await
}

/// Like [`within`]; the panic names `what`.
pub async fn named_within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(DEADLINE, work).await;
    assert!(ended.is_ok(), "{what} does not end within {DEADLINE:?}");
    ended.expect("checked above")
}

//! How the tests wait: for what they look for, never for time to pass.

use std::time::Duration;

/// How long anything that is waited for may take, on a machine that is busy with everything else: it bounds a failure, not a
/// success.
const PATIENCE: Duration = Duration::from_secs(180);

/// Looks until `look` sees it, and fails when it does not in good time.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "not seen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for something that has to come to an end.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// An HTTP client; reqwest wants to be told which TLS library there is.
pub(crate) fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE).build().expect("a client")
}

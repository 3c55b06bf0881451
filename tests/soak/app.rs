//! How the scenarios wait, in the words of the tests whose modules they borrow.

use std::time::Duration;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The secret that everything is signed with.
pub(crate) const SECRET: &str = "a-secret-of-the-soak";

/// Looks until `look` sees it.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "not seen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits for something that has to come to an end.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// An HTTP client; reqwest wants to be told which TLS library there is.
pub(crate) fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

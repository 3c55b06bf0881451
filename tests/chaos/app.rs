//! What the pieces shared with the integration tests ask for.

use std::time::Duration;

/// How long a call of `deploy/services` may take, on a machine that is busy with everything else.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits for something that has to come to an end.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

//! Trying again until it works: the one use of the `backoff` crate.
//!
//! `backoff` is unmaintained (RUSTSEC-2025-0012) and asked for by the product's owner; it stays behind this page so that
//! replacing it is one small change. Its defaults give up silently after 15 minutes, ours never do.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// The longest pause before jitter; with it, no pause exceeds 1.5 s. The contract promises that work resumes within 5 s of a
/// dependency's return; two pauses may follow each other, a connection's and that of who waits for it, and the attempts
/// take time as well.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Growing pauses, with jitter, without end.
pub struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(100))
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_interval(LONGEST_PAUSE)
            .with_max_elapsed_time(None)
            .build();
        Self(policy)
    }
}

impl Backoff {
    /// The next pause: from about 100 ms to at most 1.5 s.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(LONGEST_PAUSE)
    }
}

/// Calls `attempt` until it succeeds. `failed` is told of each failure and the pause that follows. Dropping the future ends
/// it at any await.
pub async fn retry_until_ok<T, E, F>(mut attempt: impl FnMut() -> F, mut failed: impl FnMut(&E, Duration)) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let mut pauses = Backoff::default();
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                let pause = pauses.next_delay();
                failed(&error, pause);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_a_half_at_most_and_there_is_always_another() {
        let mut pauses = Backoff::default();
        let pauses: Vec<Duration> = (0..1_000).map(|_| pauses.next_delay()).collect();
        assert!(pauses[0] <= Duration::from_millis(150));
        assert!(
            pauses[10..]
                .iter()
                .all(|pause| (Duration::from_millis(500)..=Duration::from_millis(1_500)).contains(pause))
        );
    }
}

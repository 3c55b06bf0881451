//! How many deferred events of each type are published at once.
//!
//! A subscriber's full queue refuses every event that is routed to it, while all other subscribers receive a copy each time. So
//! one event of the type goes first, as a sample; the others wait until one is taken.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first pause after a refused sample. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The state of each type with deferred events. A type without an entry is sampled.
#[derive(Default)]
pub(super) struct TypeGates(Mutex<HashMap<String, Gate>>);

#[derive(Clone, Copy)]
enum Gate {
    /// The last one was taken.
    Open,
    /// The last sample was refused; the next one may go at `until`.
    Paused { until: Instant, pause: Duration },
}

impl TypeGates {
    /// How many deferred events of the type may be published together now: none, a sample, or `max`.
    pub(super) fn limit(&self, event_type: &str, max: u64) -> u64 {
        match self.lock().get(event_type) {
            Some(Gate::Open) => max,
            Some(Gate::Paused { until, .. }) if *until > Instant::now() => 0,
            Some(Gate::Paused { .. }) | None => 1,
        }
    }

    /// Deferred events of the type were published, and none was refused.
    pub(super) fn taken(&self, event_type: &str) {
        self.lock().insert(event_type.to_owned(), Gate::Open);
    }

    /// A deferred event of the type was refused or not answered in time. The pause is at most `max`.
    pub(super) fn refused(&self, event_type: &str, max: Duration) {
        let mut gates = self.lock();
        let pause = match gates.get(event_type) {
            Some(Gate::Paused { pause, .. }) => (*pause * 2).min(max),
            Some(Gate::Open) | None => FIRST_PAUSE.min(max),
        };
        gates.insert(event_type.to_owned(), Gate::Paused { until: Instant::now() + pause, pause });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Gate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_goes_first_and_the_rest_once_it_is_taken() {
        let gates = TypeGates::default();
        assert_eq!(gates.limit("a", 256), 1);
        gates.refused("a", Duration::from_secs(60));
        assert_eq!((gates.limit("a", 256), gates.limit("b", 256)), (0, 1), "each type by itself");
        gates.taken("a");
        assert_eq!(gates.limit("a", 256), 256);
        gates.refused("a", Duration::ZERO);
        assert_eq!(gates.limit("a", 256), 1, "after the pause another sample");
    }

    #[test]
    fn pauses_grow_to_the_maximum() {
        let gates = TypeGates::default();
        let mut pause_after = |max: u64| {
            gates.refused("a", Duration::from_secs(max));
            match gates.lock()["a"] {
                Gate::Paused { pause, .. } => pause.as_secs(),
                Gate::Open => unreachable!("it was refused"),
            }
        };
        assert_eq!([60, 60, 60, 60, 60, 60, 60, 60, 3].map(&mut pause_after), [1, 2, 4, 8, 16, 32, 60, 60, 3]);
    }
}

//! How many unacknowledged deliveries a consumer may have: a few while that is safer, else the maximum.
//!
//! A crash of the worker adds one to the delivery count of every prefetched message, so with a full prefetch a message that
//! crashes the worker every time would bring all of them to the delivery limit. Hence the prefetch is 1 until a first
//! delivery is settled, and again as soon as a redelivered message arrives. It is moderate while bodies are large, because all that
//! is prefetched is held in memory.

use super::delivery::Delivery;

/// The prefetch while bodies are large: 32 MiB of the largest that the ingress takes by default.
const MODERATE: u16 = 128;
/// Bodies are large when their mean size exceeds this.
const LARGE_BODY_BYTES: usize = 64 * 1024;
/// Bodies are small again when their mean size is below this.
const SMALL_BODY_BYTES: usize = 16 * 1024;
/// The mean is about that of the last 64 bodies: each new one counts for a 64th.
const MEAN_OF: usize = 64;

/// The prefetch of a consumer, and what it depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefetch {
    max: u16,
    /// That of all consumers on the channel together.
    pub(super) current: u16,
    /// Whether a delivery was settled, and none has arrived since that was delivered before.
    is_trusted: bool,
    mean_body_bytes: usize,
    has_large_bodies: bool,
}

impl Prefetch {
    /// Nothing is consumed yet. Bodies count as large until about 90 were small.
    pub(super) fn new(max: u16) -> Self {
        Self { max, current: 0, is_trusted: false, mean_body_bytes: LARGE_BODY_BYTES, has_large_bodies: true }
    }

    /// The prefetch on a new channel, with which nothing is consumed yet.
    pub(super) fn restarted(self) -> Self {
        Self { current: 0, is_trusted: false, ..self }
    }

    /// What the prefetch should be now.
    pub(super) fn wanted(&self) -> u16 {
        if self.is_trusted { self.usual() } else { 1 }
    }

    /// What it should be while no message is suspected.
    pub(super) fn usual(&self) -> u16 {
        if self.has_large_bodies { MODERATE.min(self.max) } else { self.max }
    }

    /// Whether several batches may be in flight: nothing is to be changed, and no message is suspected.
    pub(super) fn allows_overlap(&self) -> bool {
        self.is_trusted && self.current == self.wanted()
    }

    /// Notes a delivery that has arrived.
    pub(super) fn delivered(&mut self, delivery: &Delivery) {
        if delivery.is_redelivered {
            self.is_trusted = false;
        }
        self.record_size(delivery.message.body.len());
    }

    /// Notes that a delivery was handled without a crash.
    pub(super) fn trust(&mut self) {
        self.is_trusted = true;
    }

    fn record_size(&mut self, bytes: usize) {
        self.mean_body_bytes = self.mean_body_bytes - self.mean_body_bytes / MEAN_OF + bytes / MEAN_OF;
        if self.mean_body_bytes > LARGE_BODY_BYTES {
            self.has_large_bodies = true;
        } else if self.mean_body_bytes < SMALL_BODY_BYTES {
            self.has_large_bodies = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefetch_is_full_once_a_delivery_is_settled_and_many_bodies_were_small() {
        let mut prefetch = Prefetch::new(1024);
        // How many bodies of a size it takes until the prefetch changes.
        let mut until_changed = |bytes: usize| {
            let before = prefetch.wanted();
            let bodies = (1..1000).find(|_| {
                prefetch.record_size(bytes);
                prefetch.trust();
                prefetch.wanted() != before
            });
            (bodies.unwrap(), prefetch.wanted())
        };
        assert_eq!(until_changed(600), (1, MODERATE));
        for (bytes, after) in [(600, 1024), (250_000, MODERATE), (600, 1024)] {
            let (bodies, wanted) = until_changed(bytes);
            assert!((10..250).contains(&bodies) && wanted == after, "{bodies} of {bytes} bytes: {wanted}");
        }
        assert_eq!(prefetch.restarted().wanted(), 1);
    }
}

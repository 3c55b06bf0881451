//! Turns acknowledged delivery tags into as few `basic.ack` frames as possible, covering exactly those deliveries.
//!
//! A cumulative ack also covers every lower tag of the channel, so it is sent only where all of those are acknowledged.
//! Pure; delivery tags count from 1 on each channel.

use std::collections::BTreeSet;

/// The delivery tags acknowledged on one channel.
#[derive(Debug, Default)]
pub(super) struct AckTracker {
    /// Every tag up to this one is acknowledged.
    contiguous: u64,
    /// Acknowledged tags beyond a gap.
    beyond_gap: BTreeSet<u64>,
}

impl AckTracker {
    /// Records that the deliveries with these tags are acknowledged, and returns the frames to send, each as its tag
    /// and its `multiple` flag. Each tag may be passed once.
    pub(super) fn acknowledge(&mut self, tags: &[u64]) -> Vec<(u64, bool)> {
        self.beyond_gap.extend(tags);
        while self.beyond_gap.remove(&(self.contiguous + 1)) {
            self.contiguous += 1;
        }
        let (covered, beyond): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| **tag <= self.contiguous);
        // Not `contiguous` itself: RabbitMQ closes the channel when a tag is acknowledged again.
        let cumulative = covered.into_iter().max().map(|tag| (tag, true));
        cumulative.into_iter().chain(beyond.into_iter().map(|tag| (tag, false))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tags that RabbitMQ considers unacknowledged.
    #[derive(Default)]
    struct Broker(BTreeSet<u64>);

    impl Broker {
        /// Settles what `frames` cover as RabbitMQ does: a tag that is not outstanding closes the channel.
        fn receive(&mut self, frames: &[(u64, bool)]) {
            for (tag, multiple) in frames {
                assert!(self.0.remove(tag), "unknown delivery tag {tag}");
                self.0.retain(|other| !multiple || other > tag);
            }
        }
    }

    proptest! {
        #[test]
        fn exactly_the_given_deliveries_are_acknowledged_in_any_order(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            batch in 1..8_usize,
        ) {
            let (mut acks, mut broker) = (AckTracker::default(), Broker((1..=40).collect()));
            let mut unacknowledged: BTreeSet<u64> = (1..=40).collect();
            for batch in order.chunks(batch) {
                broker.receive(&acks.acknowledge(batch));
                unacknowledged.retain(|tag| !batch.contains(tag));
                prop_assert_eq!(&broker.0, &unacknowledged);
            }
        }
    }

    #[test]
    fn a_batch_in_order_takes_one_frame() {
        let mut acks = AckTracker::default();
        assert_eq!(acks.acknowledge(&(1..=256).collect::<Vec<_>>()), [(256, true)]);
        assert_eq!(acks.acknowledge(&[258, 259]), [(258, false), (259, false)]);
        assert_eq!(acks.acknowledge(&[257]), [(257, true)]);
        assert_eq!(acks.acknowledge(&[260, 261]), [(261, true)]);
    }
}

//! Which acknowledgements tell the broker that these deliveries are done, and no others.
//!
//! A cumulative one covers every lower tag on the channel: also one that is held for later, and one that has arrived and was
//! not even looked at. Pure; tags count from 1 on each channel.

use std::collections::BTreeSet;

/// What has been acknowledged on a channel.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Every delivery up to this one.
    through: u64,
    /// And these beyond it, one by one.
    beyond: BTreeSet<u64>,
}

/// What to send.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToSend {
    /// One acknowledgement for this tag and every lower one.
    pub(super) cumulative: Option<u64>,
    /// One acknowledgement for each of these.
    pub(super) single: Vec<u64>,
}

impl Acks {
    /// Takes note that the deliveries with those tags are done; each tag once.
    pub(super) fn add(&mut self, tags: &[u64]) -> ToSend {
        self.beyond.extend(tags);
        while self.beyond.remove(&(self.through + 1)) {
            self.through += 1;
        }
        let through = self.through;
        ToSend {
            // Not `through` itself, which may have been acknowledged before: the broker knows no tag twice.
            cumulative: tags.iter().copied().filter(|tag| *tag <= through).max(),
            single: tags.iter().copied().filter(|tag| *tag > through).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A broker's view: what it has handed out and not been told about.
    #[derive(Default)]
    struct Broker(BTreeSet<u64>);

    impl Broker {
        /// Settles what `sent` covers, the way RabbitMQ does: a tag that is not outstanding closes the channel.
        fn receive(&mut self, sent: &ToSend) {
            if let Some(last) = sent.cumulative {
                assert!(self.0.contains(&last), "unknown delivery tag {last}");
                self.0.retain(|tag| *tag > last);
            }
            for tag in &sent.single {
                assert!(self.0.remove(tag), "unknown delivery tag {tag}");
            }
        }
    }

    proptest! {
        #[test]
        fn exactly_what_is_done_is_acknowledged_in_any_order(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            batch in 1..8_usize,
        ) {
            let (mut acks, mut broker) = (Acks::default(), Broker((1..=40).collect()));
            let mut undone: BTreeSet<u64> = (1..=40).collect();
            for batch in order.chunks(batch) {
                broker.receive(&acks.add(batch));
                undone.retain(|tag| !batch.contains(tag));
                prop_assert_eq!(&broker.0, &undone);
            }
        }
    }

    #[test]
    fn a_batch_in_order_is_one_acknowledgement() {
        let mut acks = Acks::default();
        assert_eq!(acks.add(&(1..=256).collect::<Vec<_>>()), ToSend { cumulative: Some(256), single: Vec::new() });
        assert_eq!(acks.add(&[258, 259]), ToSend { cumulative: None, single: vec![258, 259] });
        assert_eq!(acks.add(&[257]), ToSend { cumulative: Some(257), single: Vec::new() });
        assert_eq!(acks.add(&[260, 261]), ToSend { cumulative: Some(261), single: Vec::new() });
    }
}

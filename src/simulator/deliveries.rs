//! What has become of the webhooks so far: which are still to be posted, and how many came to which end. Pure.

use std::sync::Arc;

use serde::Serialize;
use tokio::time::Instant;

use super::fate::Fate;
use super::queue::{Next, Post, Purpose, Queue};
use super::timetable::Timetable;
use super::webhook::Webhook;

/// Maximum number of posts that wait.
const MAX_WAITING: usize = 100_000;

/// How many webhooks came to which end, since the start.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Webhooks created.
    created: u64,
    /// Posts made, retries and duplicates included.
    sent: u64,
    /// Webhooks answered with 200.
    accepted: u64,
    /// Webhooks posted again although they had come to their end.
    duplicated: u64,
    /// Webhooks held back behind later ones.
    reordered: u64,
    /// Webhooks never posted.
    dropped: u64,
    /// Webhooks not accepted at the last retry.
    given_up: u64,
    /// Posts that are still to come or in progress.
    waiting: usize,
}

/// How a post ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200.
    Accepted,
    /// Any other status, or none in time.
    Refused,
}

/// The webhooks on their way.
#[derive(Debug)]
pub(super) struct Deliveries {
    queue: Queue,
    timetable: Timetable,
    in_progress: usize,
    counts: Counts,
}

impl Deliveries {
    pub(super) fn new(timetable: Timetable) -> Self {
        Self { queue: Queue::default(), timetable, in_progress: 0, counts: Counts::default() }
    }

    /// Whether that many webhooks more may wait.
    pub(super) fn has_room_for(&self, webhooks: usize) -> bool {
        self.queue.len() + self.in_progress + webhooks <= MAX_WAITING
    }

    /// Sends a new webhook on its way, or drops it.
    pub(super) fn begin(&mut self, webhook: Arc<Webhook>, fate: Fate, now: Instant) {
        self.counts.created += 1;
        if fate.is_dropped {
            self.counts.dropped += 1;
            return;
        }
        self.counts.reordered += u64::from(fate.overtaken_by > 0);
        let purpose = Purpose::First { is_duplicated: fate.is_duplicated };
        self.queue.arrive(Post { webhook, purpose }, fate.overtaken_by, now);
    }

    /// The next post if one is due, which [`Deliveries::settle`] must be called for; else when to look again.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let next = self.queue.next(now);
        if matches!(next, Next::Post(_)) {
            self.in_progress += 1;
            self.counts.sent += 1;
        }
        next
    }

    /// Records the answer to a post that began at `posted`, and queues what follows from it.
    pub(super) fn settle(&mut self, post: Post, posted: Instant, answer: Answer, now: Instant) {
        self.in_progress -= 1;
        let (retries, first_posted, is_duplicated) = match post.purpose {
            Purpose::First { is_duplicated } => (0, posted, is_duplicated),
            Purpose::Retry { number, first_posted, is_duplicated } => (number, first_posted, is_duplicated),
            Purpose::Duplicate => return,
        };
        match (answer, self.timetable.retry(retries)) {
            (Answer::Accepted, _) => self.counts.accepted += 1,
            (Answer::Refused, Some(delay)) => {
                let purpose = Purpose::Retry { number: retries + 1, first_posted, is_duplicated };
                self.queue.add(Post { purpose, ..post }, first_posted + delay);
                return;
            }
            (Answer::Refused, None) => self.counts.given_up += 1,
        }
        if is_duplicated {
            self.counts.duplicated += 1;
            self.queue.add(Post { purpose: Purpose::Duplicate, ..post }, now);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { waiting: self.queue.len() + self.in_progress, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::timestamp::Timestamp;
    use crate::simulator::dialect::Dialect;
    use crate::simulator::webhook::Kind;

    const MINUTE: Duration = Duration::from_secs(60);

    fn begun(fate: Fate, now: Instant) -> Deliveries {
        let (payload, id) = (serde_json::Value::Null, uuid::Uuid::nil());
        let webhook = Webhook::new(Kind::Created, &payload, Timestamp::EPOCH, id, Dialect::Uae);
        let mut deliveries = Deliveries::new(Timetable::new(1));
        deliveries.begin(Arc::new(webhook), fate, now);
        deliveries
    }

    /// Answers every post in the same way; returns when each was made, in minutes.
    fn answer_all(deliveries: &mut Deliveries, answer: Answer, start: Instant) -> Vec<u64> {
        let (mut now, mut made) = (start, Vec::new());
        loop {
            match deliveries.next(now) {
                Next::Post(post) => {
                    made.push((now - start).as_secs() / 60);
                    // An answer takes a while, which must not move the timetable.
                    deliveries.settle(post, now, answer, now + MINUTE / 6);
                }
                Next::At(due) => now = due,
                Next::Nothing => return made,
            }
        }
    }

    #[test]
    fn a_refused_webhook_is_posted_on_leans_timetable_and_then_given_up() {
        let now = Instant::now();
        let fate = Fate { is_dropped: false, is_duplicated: false, overtaken_by: 0 };
        let mut deliveries = begun(fate, now);
        assert_eq!(answer_all(&mut deliveries, Answer::Refused, now), [0, 1, 2, 5, 10, 60, 180]);
        let counts = deliveries.counts();
        assert_eq!((counts.sent, counts.given_up, counts.accepted, counts.waiting), (7, 1, 0, 0));
    }

    #[test]
    fn a_duplicate_follows_the_accepted_post_and_is_not_retried() {
        let now = Instant::now();
        let fate = Fate { is_dropped: false, is_duplicated: true, overtaken_by: 0 };
        let mut deliveries = begun(fate, now);
        assert_eq!(answer_all(&mut deliveries, Answer::Accepted, now).len(), 2);
        let counts = deliveries.counts();
        assert_eq!((counts.sent, counts.duplicated, counts.accepted, counts.waiting), (2, 1, 1, 0));
    }

    #[test]
    fn a_dropped_webhook_is_never_posted() {
        let now = Instant::now();
        let mut deliveries = begun(Fate { is_dropped: true, is_duplicated: true, overtaken_by: 3 }, now);
        assert!(answer_all(&mut deliveries, Answer::Accepted, now).is_empty());
        assert_eq!((deliveries.counts().created, deliveries.counts().dropped, deliveries.counts().sent), (1, 1, 0));
    }
}

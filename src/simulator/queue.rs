//! The posts that are still to be made, in the order in which they are due. Pure: the time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::webhook::Webhook;

/// How long a webhook is held back at most, if fewer webhooks follow than are to overtake it.
const MAX_HOLD: Duration = Duration::from_secs(2);

/// A post that is still to be made.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) webhook: Arc<Webhook>,
    pub(super) purpose: Purpose,
}

/// Why a webhook is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For the first time. A duplicate follows if it is accepted or given up.
    First { is_duplicated: bool },
    /// Again, because it was not accepted: the number of this retry, from 1, and when the first post was made.
    Retry { number: usize, first_posted: Instant, is_duplicated: bool },
    /// Again, although it has come to its end. Not retried.
    Duplicate,
}

/// A webhook that others are to overtake.
#[derive(Debug)]
struct Held {
    post: Post,
    /// The number of the arrival that releases it.
    released_by: u64,
    until: Instant,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Make this post now.
    Post(Post),
    /// Wait for that time, or for a change.
    At(Instant),
    /// Wait for a change.
    Nothing,
}

/// The posts to make.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By due time, then in the order in which they were added.
    due: BTreeMap<(Instant, u64), Post>,
    /// At most one more than webhooks can overtake one, and those that wait for the first of them.
    held: Vec<Held>,
    added: u64,
    /// How many webhooks have arrived, held ones included.
    arrived: u64,
}

impl Queue {
    /// Adds a new webhook, which `overtaken_by` later ones are to overtake, and releases those that waited for it.
    pub(super) fn arrive(&mut self, post: Post, overtaken_by: u64, now: Instant) {
        self.arrived += 1;
        match overtaken_by {
            0 => self.add(post, now),
            _ => self.held.push(Held { post, released_by: self.arrived + overtaken_by, until: now + MAX_HOLD }),
        }
        let arrived = self.arrived;
        self.release(now, |held| held.released_by <= arrived);
    }

    /// Adds a post that is due at `due`.
    pub(super) fn add(&mut self, post: Post, due: Instant) {
        self.added += 1;
        self.due.insert((due, self.added), post);
    }

    /// The next post if one is due, else when to look again.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.release(now, |held| held.until <= now);
        let held_until = self.held.iter().map(|held| held.until).min();
        match self.due.first_entry() {
            Some(entry) if entry.key().0 <= now => Next::Post(entry.remove()),
            Some(entry) => Next::At(held_until.map_or(entry.key().0, |until| until.min(entry.key().0))),
            None => held_until.map_or(Next::Nothing, Next::At),
        }
    }

    /// The number of posts in it.
    pub(super) fn len(&self) -> usize {
        self.due.len() + self.held.len()
    }

    fn release(&mut self, now: Instant, is_released: impl Fn(&Held) -> bool) {
        let released: Vec<Held> = self.held.extract_if(.., |held| is_released(held)).collect();
        for held in released {
            self.add(held.post, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timestamp::Timestamp;
    use crate::simulator::dialect::Dialect;
    use crate::simulator::webhook::Kind;

    fn post(id: u128) -> Post {
        let id = uuid::Uuid::from_u128(id);
        let webhook = Webhook::new(Kind::Created, &serde_json::Value::Null, Timestamp::EPOCH, id, Dialect::Uae);
        Post { webhook: Arc::new(webhook), purpose: Purpose::First { is_duplicated: false } }
    }

    fn drain(queue: &mut Queue, now: Instant) -> Vec<u128> {
        let next = || match queue.next(now) {
            Next::Post(post) => Some(post.webhook.event_id.as_u128()),
            Next::At(_) | Next::Nothing => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_held_webhook_is_overtaken_by_as_many_as_were_drawn() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (id, overtaken_by) in [(1, 2), (2, 0), (3, 0), (4, 0)] {
            queue.arrive(post(id), overtaken_by, now);
        }
        assert_eq!(drain(&mut queue, now), [2, 3, 1, 4]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_held_webhook_that_none_follows_is_released_in_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.arrive(post(1), 1, now);
        assert!(matches!(queue.next(now), Next::At(until) if until == now + MAX_HOLD));
        assert_eq!(drain(&mut queue, now + MAX_HOLD), [1]);
    }

    #[test]
    fn posts_are_due_by_time_and_then_in_order() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        queue.add(post(3), later);
        queue.add(post(1), now);
        queue.add(post(2), now);
        assert_eq!(drain(&mut queue, now), [1, 2]);
        assert!(matches!(queue.next(now), Next::At(due) if due == later));
        assert_eq!(drain(&mut queue, later), [3]);
        assert!(matches!(queue.next(later), Next::Nothing));
    }
}

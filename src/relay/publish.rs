//! Publishes claimed events and sorts them by what RabbitMQ said.

use std::time::Duration;

use crate::bisect::Bisection;
use crate::broker::{Error, Outgoing, Publisher};
use crate::store::outbox_claims::PendingEvent;

/// Maximum wait for the confirms of events that are published together.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(5);
/// Maximum delay before a refused event is published again.
const MAX_REFUSED_DELAY: Duration = Duration::from_secs(60);
/// Maximum delay after no answer, which may be caused by one slow queue or by a broker that is about to recover.
const MAX_UNANSWERED_DELAY: Duration = Duration::from_secs(3);

/// What became of the events of a claim. Those that are in no list may or may not have been published.
#[derive(Default)]
pub(super) struct Published<'a> {
    /// Confirmed, and taken by every queue.
    pub(super) confirmed: Vec<&'a PendingEvent>,
    /// Not taken, each for its reason.
    pub(super) refused: Vec<(&'a PendingEvent, Error)>,
    /// Why the rest could not be published.
    pub(super) outage: Option<Error>,
}

/// Publishes `events` together. RabbitMQ closes the channel over an event that is larger than its `max_message_size`, and then
/// answers none of those behind it; so these are halved until that event stands alone.
pub(super) async fn publish_all<'a>(publisher: &Publisher, events: &'a [PendingEvent]) -> Published<'a> {
    let mut published = Published::default();
    let mut bisection = Bisection::new(events.iter().collect());
    while let Some(part) = bisection.next_part() {
        let messages = part.iter().map(|event| outgoing(publisher, event)).collect();
        let answers = publisher.publish_all(messages, CONFIRM_DEADLINE).await;
        let (mut unanswered, mut closed, mut outage) = (Vec::new(), None, None);
        for (event, answer) in part.into_iter().zip(answers) {
            match answer {
                Ok(()) => published.confirmed.push(event),
                Err(cause) if cause.is_refusal() || matches!(cause, Error::TimedOut) => {
                    published.refused.push((event, cause));
                }
                Err(cause) => {
                    unanswered.push(event);
                    let seen = if matches!(cause, Error::Precondition(_)) { &mut closed } else { &mut outage };
                    *seen = Some(cause);
                }
            }
        }
        match closed {
            Some(cause) => bisection.failed(unanswered, cause),
            None if outage.is_some() => {
                published.outage = outage;
                break;
            }
            None => {}
        }
    }
    published.refused.extend(bisection.into_faulty());
    published
}

/// The delay before an event that was refused for `cause`, after as many refusals before, is published again.
pub(super) fn deferral(refusals: i32, cause: &Error) -> Duration {
    let doublings = u32::try_from(refusals.clamp(0, 10)).unwrap_or_default();
    Duration::from_secs(1 << doublings).min(max_deferral(cause))
}

/// The longest delay after that cause.
pub(super) fn max_deferral(cause: &Error) -> Duration {
    if matches!(cause, Error::TimedOut) { MAX_UNANSWERED_DELAY } else { MAX_REFUSED_DELAY }
}

fn outgoing(publisher: &Publisher, event: &PendingEvent) -> Outgoing {
    let PendingEvent { id, event_type, routing_key, json, traceparent, .. } = event;
    let topology = publisher.connection().topology();
    Outgoing::event(topology, *id, event_type, routing_key, traceparent.as_deref(), json.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_event_waits_longer_each_time_but_never_more_than_a_minute() {
        let delays = [0, 1, 2, 5, 6, 1_000].map(|refusals| deferral(refusals, &Error::Nacked).as_secs());
        assert_eq!(delays, [1, 2, 4, 32, 60, 60]);
        assert_eq!(deferral(9, &Error::TimedOut).as_secs(), 3);
    }
}

//! Publishes letters that were claimed for a replay.

use super::message;
use crate::broker::{self, Outgoing, Publisher, REQUEST_DEADLINE};
use crate::store::letters::ReplayKey;
use crate::store::replays::Claim;

/// What publishing came to.
pub(super) struct Published {
    /// The published letters.
    pub(super) keys: Vec<ReplayKey>,
    /// The letters whose messages were certainly not published.
    pub(super) unpublished: Vec<Claim>,
    /// The last failure.
    pub(super) failure: Option<broker::Error>,
}

/// Publishes the messages of `claims` to the work queue, all at the same time.
pub(super) async fn publish(publisher: &Publisher, claims: Vec<Claim>) -> Published {
    let topology = publisher.connection().topology();
    let messages = claims.iter().map(|claim| Outgoing::webhook(topology, &message(&claim.letter))).collect();
    let results = publisher.publish_all(messages, REQUEST_DEADLINE).await;
    let mut published = Published { keys: Vec::new(), unpublished: Vec::new(), failure: None };
    for (claim, result) in claims.into_iter().zip(results) {
        match result {
            Ok(()) => published.keys.push(ReplayKey::of(&claim.letter)),
            Err(cause) => {
                // After any other error the message may be on the queue, so the claim is left to expire.
                if cause.is_refusal() || matches!(cause, broker::Error::Blocked) {
                    published.unpublished.push(claim);
                }
                published.failure = Some(cause);
            }
        }
    }
    published
}

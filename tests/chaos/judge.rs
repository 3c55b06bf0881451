//! The judge: decides from the evidence whether every promise was kept (docs/CONTRACT.md#1-promises). It is pure, and compares with the
//! model of the integration tests, never with what the program says about itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use entity::dead_letter;
use serde_json::Value;
use testkit::model::held;
use uuid::Uuid;

use crate::case::Case;
use crate::events::check_events;
use crate::evidence::{Evidence, RetryCopy};
use crate::explain::unexplained;
use crate::ledger::{Answer, Post};
use crate::load::{Fate, Webhook};
use crate::settings::MAX_ATTEMPTS;
use crate::verdict::Verdict;

pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict { links: evidence.rows.len(), letters: evidence.letters.len(), ..Verdict::default() };
    let case = Case::new(evidence);
    check_answers(&evidence.posts, &mut verdict);
    for letter in &evidence.letters {
        check_letter(&case, letter, &mut verdict);
    }
    let dead = evidence.letters.iter().map(|letter| letter.message_id).collect();
    check_missing_letters(&case, &dead, &mut verdict);
    check_rows(&case, &dead, &mut verdict);
    check_retries(&case, &mut verdict);
    check_events(&evidence.images, &evidence.events, &mut verdict);
    verdict
}

/// Webhooks without a valid signature are answered 401 and never accepted; no other webhook is rejected.
fn check_answers(posts: &[Post], verdict: &mut Verdict) {
    for Post { webhook, answer, .. } in posts {
        let (fate, number) = (webhook.fate, webhook.number);
        match (fate, answer) {
            (Fate::Rejected, Answer::Accepted(_)) => {
                verdict.add(format!("webhook {number}: accepted without a valid signature"));
            }
            (Fate::Rejected, Answer::Rejected(401)) | (_, Answer::Accepted(_) | Answer::Unknown) => {}
            (_, Answer::Rejected(status)) => verdict.add(format!("webhook {number} ({fate:?}): answered {status}")),
        }
    }
}

/// Each dead letter is of a webhook that had to die, with the failure class and the number of attempts that it had to have.
fn check_letter(case: &Case, letter: &dead_letter::Model, verdict: &mut Verdict) {
    let (id, class, attempts) = (letter.message_id, letter.failure_class.as_str(), letter.attempts);
    let Some(post) = case.post(Some(id), &letter.body) else {
        verdict.add(format!("dead letter {id} ({class}): was never posted"));
        return;
    };
    if class == "unrouted" && case.may_be_unrouted(post) {
        return;
    }
    let webhook = &post.webhook;
    let expected = match webhook.fate {
        Fate::Dead(expected) => class == expected,
        Fate::Merged if class == "unknown_entity" && case.may_lack_link(webhook) => {
            verdict.dead_reconnects += 1;
            true
        }
        Fate::Merged | Fate::Ignored | Fate::Rejected => false,
    };
    if !expected {
        verdict.lost += 1;
        let Webhook { number, fate, .. } = &**webhook;
        verdict.add(format!("dead letter {id} ({class}: {}): webhook {number} should be {fate:?}", letter.failure));
    }
    let expected = if matches!(class, "unknown_entity" | "panicked") { MAX_ATTEMPTS } else { 1 };
    if i64::from(attempts) != expected {
        verdict.add(format!("dead letter {id} ({class}): {attempts} attempts instead of {expected}"));
    }
}

/// Each accepted webhook that had to die is a dead letter.
fn check_missing_letters(case: &Case, dead: &HashSet<Uuid>, verdict: &mut Verdict) {
    for (id, post) in &case.accepted {
        let Webhook { number, fate, .. } = &*post.webhook;
        if matches!(fate, Fate::Dead(_)) && !dead.contains(id) && !case.may_be_deleted(post) {
            verdict.lost += 1;
            verdict.add(format!("webhook {number} ({fate:?}) was accepted as {id} and is no dead letter"));
        }
    }
}

/// The webhooks about one bank link.
#[derive(Default)]
struct LinkWebhooks<'a> {
    /// Accepted and not dead.
    certain: Vec<&'a Value>,
    /// Without a clear answer, or possibly deleted with the queue.
    possible: Vec<&'a Value>,
}

/// Each bank link is what the model computes from the webhooks about it.
fn check_rows(case: &Case, dead: &HashSet<Uuid>, verdict: &mut Verdict) {
    let mut webhooks = BTreeMap::<&str, LinkWebhooks>::new();
    for post in case.evidence.posts.iter().filter(|post| post.webhook.fate == Fate::Merged) {
        let link = webhooks.entry(post.webhook.entity_id()).or_default();
        match post.answer {
            Answer::Accepted(id) if dead.contains(&id) => {}
            Answer::Accepted(_) if !case.may_be_deleted(post) => link.certain.push(&post.webhook.json),
            Answer::Accepted(_) | Answer::Unknown => link.possible.push(&post.webhook.json),
            Answer::Rejected(_) => {}
        }
    }
    let rows: BTreeMap<String, _> =
        case.evidence.rows.iter().map(|row| (row.entity_id.to_string(), held(row))).collect();
    let entities: BTreeSet<&str> = webhooks.keys().copied().chain(rows.keys().map(String::as_str)).collect();
    for entity in entities {
        let LinkWebhooks { certain, possible } = webhooks.remove(entity).unwrap_or_default();
        if let Some(reason) = unexplained(&certain, &possible, rows.get(entity)) {
            verdict.lost += 1;
            verdict.add(format!("bank link {entity}: {reason}"));
        }
    }
}

/// Only a message that failed by itself has used attempts, and never more than the schedule allows. A retry copy that is still at its
/// first attempt was deferred.
fn check_retries(case: &Case, verdict: &mut Verdict) {
    let (deferred, failed) = case.evidence.retries.iter().partition::<Vec<_>, _>(|copy| copy.attempt == 1);
    verdict.deferred = deferred.len();
    if !deferred.is_empty() && !case.evidence.may_defer {
        verdict.add(format!("{} deferred messages, on a database that cannot refuse a single row", deferred.len()));
    }
    for RetryCopy { message_id, attempt, body } in failed {
        let post = case.post(Uuid::parse_str(message_id).ok(), body);
        let may_fail = post.is_some_and(|post| match post.webhook.fate {
            Fate::Dead("unknown_entity" | "panicked") => true,
            Fate::Merged => case.may_lack_link(&post.webhook),
            _ => false,
        });
        if !may_fail {
            let webhook = post.map_or_else(
                || "a webhook that was never posted".to_owned(),
                |post| format!("webhook {} ({:?})", post.webhook.number, post.webhook.fate),
            );
            verdict
                .add(format!("message {message_id} of {webhook} is at attempt {attempt}, but cannot fail by itself"));
        }
        if !(2..=MAX_ATTEMPTS).contains(attempt) {
            verdict.add(format!("message {message_id} is at attempt {attempt} of {MAX_ATTEMPTS}"));
        }
    }
}

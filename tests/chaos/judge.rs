//! The judge: from what was posted and answered, and what is held, queued and announced in the end, whether every promise
//! was kept. Pure; it asks the model of the integration tests, never the product.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use entity::{bank_link, dead_letter};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::audit::Image;
use crate::events;
use crate::explain::unexplained;
use crate::ledger::{Answer, Post};
use crate::load::{Fate, Webhook};
use crate::model::held;

/// How long a worker that is stalled may sit on the webhook that makes a link while others wait in vain for the link.
const HOLD: Duration = Duration::from_secs(60);
/// What was posted so long before a queue was deleted may have been on it; so long afterwards webhooks may find none.
const AROUND: Duration = Duration::from_secs(30);
/// Findings that are told in full; the rest is counted.
const TOLD: usize = 20;

/// A copy that went to a retry tier.
#[derive(Clone, Debug)]
pub(crate) struct RetryCopy {
    pub(crate) message_id: String,
    pub(crate) attempt: i64,
    pub(crate) body: Vec<u8>,
}

/// Everything there is to know in the end.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) posts: Vec<Post>,
    pub(crate) rows: Vec<bank_link::Model>,
    pub(crate) letters: Vec<dead_letter::Model>,
    pub(crate) images: Vec<Image>,
    pub(crate) events: Vec<Value>,
    pub(crate) retries: Vec<RetryCopy>,
    /// When a queue had been deleted, with what was on it.
    pub(crate) deletions: Vec<Instant>,
    /// How often a message is tried, at most.
    pub(crate) tries: i64,
    /// Whether its database can be unable to write one row while it writes others: by a rival's lock, a cancelled statement.
    pub(crate) tells_rows_apart: bool,
}

/// What it comes to.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) findings: Vec<String>,
    pub(crate) untold: usize,
    /// Webhooks or events that are nowhere.
    pub(crate) lost: usize,
    /// Events that should not have been.
    pub(crate) doubled: usize,
    pub(crate) links: usize,
    pub(crate) letters: usize,
    pub(crate) events: usize,
    /// The same event again, under the same id: allowed.
    pub(crate) repeated_events: usize,
    /// Copies of webhooks whose row could not be written while others could, with no attempt spent: allowed.
    pub(crate) put_aside: usize,
    /// Reconnects that died waiting for a link that came too late: allowed.
    pub(crate) died_waiting: usize,
}

impl Verdict {
    pub(crate) fn bad(&mut self, finding: String) {
        if self.findings.len() < TOLD {
            self.findings.push(finding);
        } else {
            self.untold += 1;
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Judges.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let (links, letters_there) = (evidence.rows.len(), evidence.letters.len());
    let mut verdict = Verdict { links, letters: letters_there, ..Default::default() };
    let case = Case::of(evidence);
    answers(evidence, &mut verdict);
    let dead = letters(&case, &mut verdict);
    rows(&case, &dead, &mut verdict);
    retries(&case, &mut verdict);
    events::judge(&evidence.images, &evidence.events, &mut verdict);
    verdict
}

/// The evidence, with what is looked up often.
struct Case<'a> {
    evidence: &'a Evidence,
    accepted: HashMap<Uuid, &'a Post>,
    by_body: HashMap<&'a [u8], &'a Post>,
    /// When a webhook that makes the link was first accepted.
    made: HashMap<&'a str, Instant>,
}

impl<'a> Case<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let mut case = Self { evidence, accepted: HashMap::new(), by_body: HashMap::new(), made: HashMap::new() };
        for post in &evidence.posts {
            case.by_body.insert(&post.webhook.body, post);
            let Answer::Accepted(id) = post.answer else { continue };
            case.accepted.insert(id, post);
            if post.webhook.makes_a_link() {
                let made = case.made.entry(post.webhook.entity()).or_insert(post.ended);
                *made = (*made).min(post.ended);
            }
        }
        case
    }

    fn post(&self, id: Option<Uuid>, body: &[u8]) -> Option<&'a Post> {
        id.and_then(|id| self.accepted.get(&id)).or_else(|| self.by_body.get(body)).copied()
    }

    /// Whether a reconnect may have found no link, for as long as it was tried.
    fn may_wait_in_vain(&self, webhook: &Webhook) -> bool {
        let first =
            self.evidence.posts.iter().filter(|post| post.webhook.number == webhook.number).map(|post| post.began);
        let made = self.made.get(webhook.entity());
        webhook.kind() == "entity.reconnected" && made.is_none_or(|made| first.max().is_none_or(|at| at < *made + HOLD))
    }

    /// Whether a queue was deleted that may have held it. What was posted afterwards is under every promise again.
    fn may_be_deleted(&self, post: &Post) -> bool {
        self.evidence.deletions.iter().any(|deleted| post.began <= *deleted && post.ended + AROUND >= *deleted)
    }

    /// Whether there may have been no queue for it, so that it became a letter.
    fn may_be_unrouted(&self, post: &Post) -> bool {
        let near = |deleted: &Instant| post.began <= *deleted + AROUND && post.ended + AROUND >= *deleted;
        self.evidence.deletions.iter().any(near)
    }
}

fn answers(evidence: &Evidence, verdict: &mut Verdict) {
    for Post { webhook, answer, .. } in &evidence.posts {
        let (fate, number) = (webhook.fate, webhook.number);
        match (fate, answer) {
            (Fate::Refused, Answer::Accepted(_)) => {
                verdict.bad(format!("webhook {number}: accepted without a signature"));
            }
            (Fate::Refused, Answer::Refused(401)) => {}
            (_, Answer::Refused(status)) => verdict.bad(format!("webhook {number} ({fate:?}): answered {status}")),
            (_, Answer::Accepted(_) | Answer::Unknown) => {}
        }
    }
}

/// Each letter had to die, as it did; each that had to die is there. The ids of all that are dead.
fn letters(case: &Case, verdict: &mut Verdict) -> HashSet<Uuid> {
    let mut dead = HashSet::new();
    for letter in &case.evidence.letters {
        let (id, class, attempts) = (letter.message_id, letter.failure_class.as_str(), letter.attempts);
        dead.insert(id);
        let Some(post) = case.post(Some(id), &letter.body) else {
            verdict.bad(format!("letter {id} ({class}): nobody posted it"));
            continue;
        };
        let webhook = &post.webhook;
        let wanted = match webhook.fate {
            Fate::Dies(class) => class,
            Fate::Merged if class == "unknown_entity" && case.may_wait_in_vain(webhook) => {
                verdict.died_waiting += 1;
                class
            }
            _ => "none",
        };
        if class == "unrouted" && case.may_be_unrouted(post) {
            continue;
        }
        if class != wanted {
            verdict.lost += 1;
            verdict.bad(format!(
                "letter {id} ({class}: {}): webhook {} is {:?}",
                letter.failure, webhook.number, webhook.fate
            ));
        }
        let tries = if matches!(class, "unknown_entity" | "panicked") { case.evidence.tries } else { 1 };
        if i64::from(attempts) != tries {
            verdict.bad(format!("letter {id} ({class}) has {attempts} attempts, and {tries} were its own"));
        }
    }
    for (id, post) in &case.accepted {
        if matches!(post.webhook.fate, Fate::Dies(_)) && !dead.contains(id) && !case.may_be_deleted(post) {
            verdict.lost += 1;
            verdict.bad(format!(
                "webhook {} ({:?}) was accepted as {id} and is no letter",
                post.webhook.number, post.webhook.fate
            ));
        }
    }
    dead
}

/// What was posted about one bank link.
#[derive(Default)]
struct Spoken<'a> {
    certain: Vec<&'a Value>,
    doubtful: Vec<&'a Value>,
}

fn rows(case: &Case, dead: &HashSet<Uuid>, verdict: &mut Verdict) {
    let mut spoken = BTreeMap::<&str, Spoken>::new();
    for post in case.evidence.posts.iter().filter(|post| post.webhook.fate == Fate::Merged) {
        let about = spoken.entry(post.webhook.entity()).or_default();
        match post.answer {
            Answer::Accepted(id) if dead.contains(&id) => {}
            Answer::Accepted(_) if !case.may_be_deleted(post) => about.certain.push(&post.webhook.json),
            Answer::Accepted(_) | Answer::Unknown => about.doubtful.push(&post.webhook.json),
            Answer::Refused(_) => {}
        }
    }
    let rows: BTreeMap<String, _> =
        case.evidence.rows.iter().map(|row| (row.entity_id.to_string(), held(row))).collect();
    let entities: BTreeSet<&str> = spoken.keys().copied().chain(rows.keys().map(String::as_str)).collect();
    let nothing = Spoken::default();
    for entity in entities {
        let about = spoken.get(entity).unwrap_or(&nothing);
        if let Some(why) = unexplained(&about.certain, &about.doubtful, rows.get(entity)) {
            verdict.lost += 1;
            verdict.bad(format!("bank link {entity}: {why}"));
        }
    }
}

/// An attempt is spent only on a message that is at fault. A copy that is still at its first has spent none.
fn retries(case: &Case, verdict: &mut Verdict) {
    let (put_aside, failed) = case.evidence.retries.iter().partition::<Vec<_>, _>(|copy| copy.attempt == 1);
    verdict.put_aside = put_aside.len();
    if !put_aside.is_empty() && !case.evidence.tells_rows_apart {
        verdict.bad(format!("{} copies spent no attempt, and no row is told from another here", put_aside.len()));
    }
    for RetryCopy { message_id, attempt, body } in failed {
        let post = case.post(Uuid::parse_str(message_id).ok(), body);
        let at_fault = post.is_some_and(|post| match post.webhook.fate {
            Fate::Dies("unknown_entity" | "panicked") => true,
            Fate::Merged => case.may_wait_in_vain(&post.webhook),
            _ => false,
        });
        if !at_fault {
            let about = post.map(|post| (post.webhook.number, post.webhook.fate));
            verdict.bad(format!("message {message_id}, webhook {about:?}: attempt {attempt}, and it was not at fault"));
        }
        if !(2..=case.evidence.tries).contains(attempt) {
            verdict.bad(format!("message {message_id}: attempt {attempt} of {}", case.evidence.tries));
        }
    }
}

//! Reads a window of Lean's list, and accounts for each page before it asks for the next one, so that memory holds one page, and the
//! ids of two windows.
//!
//! Everything that is listed is accounted for, also what lies outside of the window by its `timestamp`: Lean selects by another time,
//! when the webhook was created. What Lean lists when pages do not fit together is accounted for, too.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;
use tracing::{debug, warn};
use uuid::Uuid;

use super::account::account;
use super::entry::{Content, Entry};
use super::error::Error;
use super::listing::{Inconsistency, Listing, Next};
use super::progress::{Missing, Progress};
use super::report;
use super::send::send;
use crate::broker::Publisher;
use crate::domain::listed::ListedWebhook;
use crate::lean::{Client, Query};
use crate::reconnect::Backoff;
use crate::store::Store;
use crate::store::reconcile_runs::Counts;

/// How many entries a page has, in each attempt to read a window. With another size, pages begin and end at other entries.
const PAGE_SIZES: [u64; 5] = [100, 90, 80, 70, 60];
/// A window with more entries is long.
const MAX_ENTRIES: u64 = 10_000;
/// Maximum delay before a window is read again, before jitter.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What happens to missing webhooks.
pub(super) enum Action<'a> {
    /// They are sent.
    Send(&'a Publisher),
    /// They are handed over, and nothing is written.
    List(&'a mut (dyn FnMut(&Missing) + Send)),
}

/// Whether a window is read although it is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfLong {
    /// It is read.
    Read,
    /// Nothing of it is accounted for: the caller will ask for less.
    Refuse,
}

/// How reading a window has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// Everything in it is accounted for, except what is not a webhook. It was listed at this time of Lean's clock.
    Done(Option<DateTime<Utc>>),
    /// It is long, and was refused.
    TooLong,
}

/// How reading a window once has ended.
enum Attempt {
    Consistent(Option<DateTime<Utc>>),
    TooLong,
    Inconsistent(Inconsistency),
}

/// Reads windows.
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) action: Action<'a>,
    pub(super) on_progress: &'a mut (dyn FnMut(&Progress) + Send),
    pub(super) progress: Progress,
    /// How many different entries were not webhooks.
    pub(super) garbage: u64,
    /// The ids of what was accounted for in the window before and in this one. Windows overlap, and one may be read several times.
    pub(super) seen: [HashSet<Uuid>; 2],
}

impl Reader<'_> {
    /// Reads a window until its pages fit together.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when they never do; [`Error::Lean`], [`Error::Database`] and [`Error::Broker`].
    pub(super) async fn read(&mut self, window: &Query, if_long: IfLong) -> Result<Window, Error> {
        let (mut backoff, mut previous) = (Backoff::up_to(MAX_RETRY_INTERVAL), None);
        let mut last = Inconsistency::Count;
        for size in PAGE_SIZES {
            last = match self.read_once(window, size, if_long, &mut previous).await? {
                Attempt::Consistent(listed_at) => {
                    // The next window overlaps with this one only.
                    self.seen = [std::mem::take(&mut self.seen[1]), HashSet::new()];
                    return Ok(Window::Done(listed_at));
                }
                Attempt::TooLong => return Ok(Window::TooLong),
                Attempt::Inconsistent(inconsistency) => inconsistency,
            };
            debug!(cause = %last, "Lean's pages do not fit together; reading them again");
            sleep(backoff.next_delay()).await;
        }
        Err(Error::Inconsistent(last))
    }

    /// Reads every page of a window. `previous` has the ids of the last attempt, and gets those of this one.
    async fn read_once(
        &mut self,
        window: &Query,
        size: u64,
        if_long: IfLong,
        previous: &mut Option<HashSet<Uuid>>,
    ) -> Result<Attempt, Error> {
        let mut listing = Listing::default();
        let pages_before = self.progress.pages;
        loop {
            let page = self.client.page(window, listing.next_number(), size).await?;
            if if_long == IfLong::Refuse && page.total_elements.is_some_and(|total| total > MAX_ENTRIES) {
                return Ok(Attempt::TooLong);
            }
            let entries = Entry::read_all(window, &page);
            let next = listing.add(&page, entries.iter().map(|entry| entry.id));
            drop(page);
            self.account(entries).await?;
            self.progress.pages += 1;
            self.progress.expected_pages = pages_before + listing.expected_pages();
            (self.on_progress)(&self.progress);
            match next {
                Ok(Next::Page) => {}
                Ok(Next::End) => break,
                Err(inconsistency) => return Ok(Attempt::Inconsistent(inconsistency)),
            }
        }
        let mut checked = listing.check(previous.as_ref());
        if checked.is_ok() && listing.has_more_pages() {
            let first = self.client.page(window, 0, size).await?;
            let entries = Entry::read_all(window, &first);
            checked = listing.check_first(&first, entries.iter().map(|entry| entry.id));
            drop(first);
            self.account(entries).await?;
        }
        let listed_at = listing.answered_at();
        *previous = Some(listing.into_keys());
        Ok(checked.map_or_else(Attempt::Inconsistent, |()| Attempt::Consistent(listed_at)))
    }

    /// Accounts for the entries of a page that were not accounted for before.
    async fn account(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let webhooks = entries.into_iter().filter_map(|entry| self.unseen(entry)).collect();
        let accounted = account(self.store, webhooks).await?;
        let missing = accounted.missing;
        let mut counts = accounted.counts;
        match &mut self.action {
            Action::Send(publisher) => {
                // What is known now is recorded even if what is missing cannot be sent.
                send(publisher, &missing, self.client.limit()).await?;
                counts.sent = missing.len() as u64;
                report::record(&counts);
            }
            Action::List(list) => {
                missing.iter().map(Missing::of).for_each(|missing| list(&missing));
                self.progress.missing += missing.len() as u64;
            }
        }
        let Counts { known, sent, dead, ignored } = &mut self.progress.counts;
        *known += counts.known;
        *sent += counts.sent;
        *dead += counts.dead;
        *ignored += counts.ignored;
        Ok(())
    }

    /// The webhook in `entry`, unless it was accounted for before, is not in the window, or is none.
    fn unseen(&mut self, entry: Entry) -> Option<ListedWebhook> {
        let [before, current] = &mut self.seen;
        match entry.content {
            Content::OutsideWindow => None,
            _ if !current.insert(entry.id) || before.contains(&entry.id) => None,
            Content::Webhook(webhook) => Some(webhook),
            Content::Garbage(bytes) => {
                self.garbage += 1;
                // Not its content: it may hold anything.
                warn!(bytes, "an entry of Lean's list is not a webhook");
                None
            }
        }
    }
}

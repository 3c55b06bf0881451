//! Checks that the pages of one listing fit together. Pure.
//!
//! Lean's list is paged by number, its order is not documented, and it may grow while it is read. So an entry may move to another
//! page: it is then listed twice, and another one not at all. Or one entry leaves at the front while another one comes to the end,
//! so that totals stay as they are and an entry is never seen. A listing is consistent if as many different entries were listed as
//! every page of it says there are, and its first page is still the same at the end.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::lean::Page;

/// Maximum number of different entries in one listing, of which 16 bytes each are kept.
const MAX_ENTRIES: usize = 1_000_000;
/// Maximum number of pages in one listing.
const MAX_PAGES: u64 = 100_000;

/// The pages of one listing, read so far.
#[derive(Debug, Default)]
pub(super) struct Listing {
    keys: HashSet<Uuid>,
    /// Those of the first page.
    first: HashSet<Uuid>,
    /// How many entries were listed, with those that were repeated.
    entries: u64,
    pages: u64,
    total_elements: Option<u64>,
    total_pages: Option<u64>,
    answered_at: Option<DateTime<Utc>>,
}

/// What follows after a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next page.
    Page,
    /// It was the last one.
    End,
}

/// Why pages do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// A page says that it is another one.
    #[error("a page has another number than the one that was asked for")]
    Number,
    /// The totals of two pages differ.
    #[error("pages differ in how many entries or pages there are")]
    Totals,
    /// A page is empty, though others should follow.
    #[error("a page before the last one is empty")]
    EmptyPage,
    /// All entries of a page were listed before.
    #[error("a page repeats entries of earlier pages")]
    RepeatedPage,
    /// The number of entries differs from the total.
    #[error("not as many different entries were listed as there are")]
    Count,
    /// There are too many pages or entries.
    #[error("the list does not end")]
    Endless,
    /// The first page has changed while the others were read.
    #[error("the first page changed while the others were read")]
    Moved,
    /// No page has totals, and two listings in a row differ.
    #[error("listed twice, without totals, it had different entries")]
    Unrepeatable,
}

impl Listing {
    /// The number of the next page.
    pub(super) fn next_number(&self) -> u64 {
        self.pages
    }

    /// How many pages the listing has, as far as is known.
    pub(super) fn expected_pages(&self) -> u64 {
        self.total_pages.unwrap_or(self.pages + 1).max(self.pages)
    }

    /// When the first page was answered, by Lean's clock. What was created later need not be listed.
    pub(super) fn answered_at(&self) -> Option<DateTime<Utc>> {
        self.answered_at
    }

    /// The keys of the entries so far.
    pub(super) fn into_keys(self) -> HashSet<Uuid> {
        self.keys
    }

    /// Adds the next page, whose entries have these `keys`.
    pub(super) fn add(&mut self, page: &Page, keys: impl IntoIterator<Item = Uuid>) -> Result<Next, Inconsistency> {
        let number = self.pages;
        self.pages += 1;
        if page.number.is_some_and(|given| given != number) {
            return Err(Inconsistency::Number);
        }
        if number == 0 {
            (self.total_elements, self.total_pages) = (page.total_elements, page.total_pages);
        } else if (self.total_elements, self.total_pages) != (page.total_elements, page.total_pages) {
            return Err(Inconsistency::Totals);
        }
        let on_page: HashSet<Uuid> = keys.into_iter().inspect(|_| self.entries += 1).collect();
        let is_empty = on_page.is_empty();
        if !is_empty && on_page.is_subset(&self.keys) {
            return Err(Inconsistency::RepeatedPage);
        }
        if number == 0 {
            self.first.clone_from(&on_page);
            self.answered_at = page.answered_at;
        }
        self.keys.extend(on_page);
        if self.keys.len() > MAX_ENTRIES || self.pages > MAX_PAGES {
            return Err(Inconsistency::Endless);
        }
        match self.total_pages {
            Some(total) if self.pages >= total => Ok(Next::End),
            Some(_) if is_empty => Err(Inconsistency::EmptyPage),
            Some(_) => Ok(Next::Page),
            // A short page need not be the last one: the server may give fewer entries than were asked for.
            None if is_empty => Ok(Next::End),
            None => Ok(Next::Page),
        }
    }

    /// Whether the first page must be read again: there are others, and it may have changed while they were read.
    pub(super) fn has_more_pages(&self) -> bool {
        self.pages > 1
    }

    /// Compares the first page, read again at the end, with what it was.
    pub(super) fn check_first(&self, page: &Page, keys: impl IntoIterator<Item = Uuid>) -> Result<(), Inconsistency> {
        let has_same_totals = (self.total_elements, self.total_pages) == (page.total_elements, page.total_pages);
        let is_same = has_same_totals && keys.into_iter().collect::<HashSet<_>>() == self.first;
        if is_same { Ok(()) } else { Err(Inconsistency::Moved) }
    }

    /// Whether everything was listed. `previous` has the keys of the listing before, which had other pages.
    ///
    /// The total may count an entry that Lean lists twice, byte for byte. But an entry may also be repeated in place of another one,
    /// so such a list, as one without totals, counts only if the one before had the same entries.
    pub(super) fn check(&self, previous: Option<&HashSet<Uuid>>) -> Result<(), Inconsistency> {
        let listed = self.keys.len() as u64;
        match self.total_elements {
            Some(total) if total == listed => Ok(()),
            Some(total) if total == self.entries && previous == Some(&self.keys) => Ok(()),
            Some(_) => Err(Inconsistency::Count),
            None if previous == Some(&self.keys) => Ok(()),
            None => Err(Inconsistency::Unrepeatable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with these numbers: its own, how many entries there are, how many pages.
    fn page(totals: [Option<u64>; 3]) -> Page {
        let [number, total_elements, total_pages] = totals;
        Page { entries: Vec::new(), number, total_elements, total_pages, answered_at: None }
    }

    /// Lists pages, each with its entries, and checks the listing.
    fn list(pages: &[([Option<u64>; 3], &[u128])]) -> Result<(), Inconsistency> {
        let mut listing = Listing::default();
        for (totals, keys) in pages {
            let keys: Vec<Uuid> = keys.iter().map(|key| Uuid::from_u128(*key)).collect();
            if listing.add(&page(*totals), keys)? == Next::End {
                return listing.check(None);
            }
        }
        panic!("the listing expects another page");
    }

    fn numbered(number: u64, elements: u64, pages: u64) -> [Option<u64>; 3] {
        [Some(number), Some(elements), Some(pages)]
    }

    #[test]
    fn a_listing_with_as_many_entries_as_announced_is_consistent() {
        assert_eq!(list(&[(numbered(0, 0, 0), &[])]), Ok(()));
        assert_eq!(list(&[(numbered(0, 3, 2), &[1, 2]), (numbered(1, 3, 2), &[3])]), Ok(()));
        assert_eq!(list(&[(numbered(0, 2, 1), &[1, 1, 2])]), Ok(()), "repeated, but not counted twice");
        assert_eq!(list(&[(numbered(0, 2, 2), &[1, 2]), (numbered(1, 2, 2), &[])]), Ok(()), "an empty last page");
    }

    #[test]
    fn every_way_in_which_pages_do_not_fit_is_found() {
        let first = (numbered(0, 4, 2), [1, 2].as_slice());
        for (second, expected) in [
            ((numbered(0, 4, 2), [3, 4].as_slice()), Inconsistency::Number),
            ((numbered(1, 5, 2), &[3, 4]), Inconsistency::Totals),
            ((numbered(1, 4, 3), &[3, 4]), Inconsistency::Totals),
            (([Some(1), None, None], &[3, 4]), Inconsistency::Totals),
            ((numbered(1, 4, 2), &[1, 2]), Inconsistency::RepeatedPage),
            ((numbered(1, 4, 2), &[2, 3]), Inconsistency::Count),
            ((numbered(1, 4, 2), &[3]), Inconsistency::Count),
            ((numbered(1, 4, 2), &[3, 4, 5]), Inconsistency::Count),
        ] {
            assert_eq!(list(&[first, second]), Err(expected), "{second:?}");
        }
        assert_eq!(list(&[(numbered(0, 4, 2), &[])]), Err(Inconsistency::EmptyPage));
        assert_eq!(list(&[(numbered(0, 9, 1), &[1])]), Err(Inconsistency::Count));
        assert_eq!(list(&[(numbered(0, 3, 1), &[1, 1, 2])]), Err(Inconsistency::Count), "one in place of another");
    }

    fn uuids(keys: &[u128]) -> Vec<Uuid> {
        keys.iter().map(|key| Uuid::from_u128(*key)).collect()
    }

    #[test]
    fn a_total_that_counts_repeated_entries_must_be_repeatable() {
        let mut listing = Listing::default();
        assert_eq!(listing.add(&page(numbered(0, 3, 1)), uuids(&[1, 1, 2])), Ok(Next::End));
        assert_eq!(listing.check(Some(&uuids(&[1, 2]).into_iter().collect())), Ok(()));
        assert_eq!(listing.check(Some(&uuids(&[1, 3]).into_iter().collect())), Err(Inconsistency::Count));
    }

    #[test]
    fn the_first_page_must_be_the_same_at_the_end() {
        let mut listing = Listing::default();
        assert_eq!(listing.add(&page(numbered(0, 4, 2)), uuids(&[1, 2])), Ok(Next::Page));
        assert!(!listing.has_more_pages());
        assert_eq!(listing.add(&page(numbered(1, 4, 2)), uuids(&[3, 4])), Ok(Next::End));
        assert!(listing.has_more_pages());
        assert_eq!(listing.check_first(&page(numbered(0, 4, 2)), uuids(&[2, 1])), Ok(()));
        assert_eq!(listing.check_first(&page(numbered(0, 4, 2)), uuids(&[2, 3])), Err(Inconsistency::Moved));
        assert_eq!(listing.check_first(&page(numbered(0, 5, 3)), uuids(&[1, 2])), Err(Inconsistency::Moved));
    }

    #[test]
    fn without_totals_a_listing_must_be_repeatable() {
        let listed = |keys: &[u128]| {
            let mut listing = Listing::default();
            let keys: Vec<Uuid> = keys.iter().map(|key| Uuid::from_u128(*key)).collect();
            assert_eq!(listing.add(&page([None; 3]), keys), Ok(Next::Page));
            assert_eq!(listing.add(&page([None; 3]), []), Ok(Next::End));
            listing
        };
        assert_eq!(listed(&[1, 2]).check(None), Err(Inconsistency::Unrepeatable));
        assert_eq!(listed(&[1, 2]).check(Some(&listed(&[2, 1]).keys)), Ok(()));
        assert_eq!(listed(&[1, 2]).check(Some(&listed(&[1]).keys)), Err(Inconsistency::Unrepeatable));
    }
}

//! Flows listed page by page, so that a listing of very many keeps no packet waiting: they are ranked
//! once, and told a few at a time.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use twinpath_flow::steps::FlowId;

/// Most flows of a listing.
pub(super) const FLOWS_MAX: usize = 200_000;

/// Flows of a page: a few milliseconds of work.
pub(super) const PAGE: usize = 500;

/// Listings kept for their next pages; the oldest is forgotten for one more.
const LISTINGS_MAX: usize = 4;

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Its number.
    pub listing: u64,
    /// The first flow of the page, counted from 0.
    pub first: usize,
}

#[derive(Debug)]
struct Listing {
    number: u64,
    /// Flows there are, listed or not.
    total: usize,
    flows: Vec<FlowId>,
}

/// Listings of which pages are to come.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    kept: VecDeque<Listing>,
    last: u64,
}

impl Listings {
    /// Keeps a listing of some of `total` flows; its first page.
    pub(super) fn keep(&mut self, (total, flows): (usize, Vec<FlowId>)) -> Page {
        self.last += 1;
        if self.kept.len() == LISTINGS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Listing { number: self.last, total, flows });
        Page { listing: self.last, first: 0 }
    }

    /// The flows of a page, how many there are in all, and the page behind it; `None` when its listing
    /// is forgotten.
    pub(super) fn page(&mut self, page: Page) -> Option<(Vec<FlowId>, usize, Option<Page>)> {
        let at = self.kept.iter().position(|listing| listing.number == page.listing)?;
        let Listing { total, flows: all, .. } = &self.kept[at];
        let total = *total;
        let flows: Vec<FlowId> = all.iter().skip(page.first).take(PAGE).copied().collect();
        let first = page.first.saturating_add(flows.len());
        let next = (first < all.len() && !flows.is_empty()).then_some(Page { first, ..page });
        if next.is_none() {
            self.kept.remove(at);
        }
        Some((flows, total, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> (usize, Vec<FlowId>) {
        (count, (0..).take(count).map(|index| FlowId { index, generation: 0 }).collect())
    }

    #[test]
    fn pages_are_the_whole_listing_once_and_in_order() {
        for count in [0, 1, PAGE, PAGE + 1, 3 * PAGE] {
            let mut listings = Listings::default();
            let mut told = Vec::new();
            let mut next = Some(listings.keep(ids(count)));
            while let Some(page) = next {
                let (flows, total, behind) = listings.page(page).expect("it was kept");
                assert_eq!(total, count);
                assert!(flows.len() <= PAGE);
                told.extend(flows);
                next = behind;
            }
            assert_eq!(told, ids(count).1);
            assert!(listings.kept.is_empty(), "nothing stays behind");
        }
    }

    #[test]
    fn a_listing_is_forgotten_for_the_fifth_and_what_was_never_kept_is_unknown() {
        let mut listings = Listings::default();
        let first = listings.keep(ids(2 * PAGE));
        let last = (0..4).map(|_| listings.keep(ids(1))).last().expect("four");
        assert_eq!(listings.page(first), None);
        assert_eq!(listings.page(Page { first: 7, ..last }), Some((Vec::new(), 1, None)));
        assert_eq!(listings.page(last), None, "it was told to its end");
    }
}

//! Counts by list of rules: flows with the same rules share a tally, so that a sweep adds up a few
//! sums and not every rule of every flow. Flows that send nowhere have tallies of their own.

use crate::rule_book::RuleBook;
use std::collections::HashMap;
use std::sync::Arc;
use twinpath_flow::counters::Counts;
use twinpath_flow::rule::RuleId;
use twinpath_flow::time::Time;

/// Number of a tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TallyId(u32);

#[derive(Debug)]
struct Tally {
    rules: Arc<[RuleId]>,
    /// Whether its flows send nowhere.
    drops: bool,
    /// Flows that have it.
    flows: u32,
    /// Of the card, not yet added to the rules.
    counts: Counts,
    used: Time,
}

/// All lists of rules that flows have.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// Of flows that send somewhere, and of those that do not.
    by_rules: [HashMap<Arc<[RuleId]>, TallyId>; 2],
    tallies: Vec<Tally>,
    free: Vec<TallyId>,
    /// Tallies with counts to be added.
    touched: Vec<TallyId>,
    /// The one joined last: flows that come together are mostly alike.
    last: Option<TallyId>,
}

impl Tallies {
    /// The tally of a new flow with these rules, that sends nowhere or somewhere.
    pub(crate) fn join(&mut self, rules: &[RuleId], drops: bool) -> TallyId {
        let is_it = |id: &TallyId| {
            let tally = &self.tallies[id.0 as usize];
            tally.drops == drops && *tally.rules == *rules
        };
        let last = self.last.filter(is_it);
        let known = || self.by_rules[usize::from(drops)].get(rules).copied();
        if let Some(id) = last.or_else(known) {
            self.at(id).flows += 1;
            self.last = Some(id);
            return id;
        }
        let rules: Arc<[RuleId]> = rules.into();
        let (counts, used) = (Counts::default(), Time::default());
        let tally = Tally { rules: Arc::clone(&rules), drops, flows: 1, counts, used };
        let id = if let Some(id) = self.free.pop() {
            *self.at(id) = tally;
            id
        } else {
            self.tallies.push(tally);
            TallyId(u32::try_from(self.tallies.len() - 1).expect("no more than flows"))
        };
        self.by_rules[usize::from(drops)].insert(rules, id);
        id
    }

    /// A flow with this tally is gone, its counts are added.
    pub(crate) fn leave(&mut self, id: TallyId) {
        let tally = self.at(id);
        tally.flows -= 1;
        if tally.flows == 0 {
            let (rules, drops) = (std::mem::take(&mut tally.rules), tally.drops);
            self.by_rules[usize::from(drops)].remove(&rules);
            self.last = None;
            self.free.push(id);
        }
    }

    fn at(&mut self, id: TallyId) -> &mut Tally {
        &mut self.tallies[id.0 as usize]
    }

    /// The rules of a tally.
    pub(crate) fn rules(&self, id: TallyId) -> &Arc<[RuleId]> {
        &self.tallies[id.0 as usize].rules
    }

    /// Adds what a card counted; [`Self::settle`] takes it to the rules.
    pub(crate) fn add(&mut self, id: TallyId, counts: Counts, used: Time) {
        let tally = self.at(id);
        let first = tally.counts == Counts::default();
        tally.counts += counts;
        tally.used = tally.used.max(used);
        if first && counts != Counts::default() {
            self.touched.push(id);
        }
    }

    /// Takes all that was added to the rules; what flows that send nowhere counted of it.
    pub(crate) fn settle(&mut self, rules: &mut RuleBook) -> Counts {
        let mut dropped = Counts::default();
        for id in self.touched.drain(..) {
            let tally = &mut self.tallies[id.0 as usize];
            let (counts, used) = (std::mem::take(&mut tally.counts), tally.used);
            if tally.drops {
                dropped += counts;
            }
            for rule in tally.rules.iter() {
                if let Some(record) = rules.get_mut(*rule) {
                    record.card += counts;
                    record.used(used);
                }
            }
        }
        dropped
    }
}

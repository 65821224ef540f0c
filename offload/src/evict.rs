//! When tables are full: hotter flows take the places of the coldest entries.

use crate::engine::Engine;
use crate::flows::FlowIndex;
use crate::ledger::{Doom, Ledger};
use crate::place::Pay;
use crate::table::Table;
use crate::why::WhyNot;
use std::collections::VecDeque;
use twinpath_flow::card::{EntryId, TableId};
use twinpath_flow::key::Key;

/// Flows offered at once when a round ends; the others follow with the next inputs.
const OFFERS_PER_ROUND: usize = 32;

impl Engine {
    /// Ends a round's placement: begins to offer its hottest flows, and finds banks for unserved
    /// masks.
    pub(crate) fn rebalance(&mut self) {
        self.budget.follow(self.now);
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.tables.iter_mut().for_each(Table::relax_limit);
        }
        let bar = self.bar();
        self.wanting.end_round(bar);
        if self.ledger.is_none() {
            self.wanting.clear();
        }
        self.place_wanting(OFFERS_PER_ROUND);
        self.settle_masks();
        let awaits = |ledger: &Ledger| ledger.tables.iter().any(Table::awaits_mask);
        if !self.ledger.as_ref().is_some_and(awaits) {
            self.wanting.forget_seen();
        }
    }

    /// The heat below which a flow gets nobody's place, the hysteresis included: 0 while a table has
    /// room or no mask.
    pub(crate) fn bar(&mut self) -> u64 {
        let round = self.rounds.number;
        let Some(ledger) = self.ledger.as_mut() else { return 0 };
        let mut bar = u64::MAX;
        for table in (0..).map(TableId).take(ledger.tables.len()) {
            let state = ledger.table(table);
            if state.is_refused() || state.caps.capacity == 0 {
                continue;
            }
            if state.has_room() || !state.is_settled() {
                return 0;
            }
            bar = bar.min(ledger.coldest(table, round).map_or(0, |(heat, _)| heat));
        }
        let least = u128::from(bar) * u128::from(self.settings.hysteresis_percent) / 100 + 1;
        u64::try_from(least).unwrap_or(u64::MAX)
    }

    /// Offers a flow; where it finds no room, a colder one makes some.
    pub(crate) fn place_candidate(&mut self, index: FlowIndex) {
        self.offer_seen(index, |engine, key, why_not, wanted| {
            let table = engine.spots_of(index, key.as_ref()).first().map(|spot| spot.table);
            let no_bank = table.is_none_or(|table| engine.is_ternary(table));
            if no_bank && matches!(why_not, WhyNot::TableFull | WhyNot::NoBank) {
                engine.homeless = engine.homeless.saturating_add(wanted);
                engine.want_mask_of(index, wanted);
            }
            match (why_not, table) {
                (WhyNot::TableFull, Some(table)) => {
                    engine.challenge(table, (index, key), wanted);
                }
                (WhyNot::Specialisations(_), _) => engine.rotate(index, key, wanted),
                // A mask may be on its way: it is offered again when that is set.
                (WhyNot::Pending | WhyNot::NoBank, _) => engine.wanting.see(index),
                _ => {}
            }
        });
    }

    fn is_ternary(&self, table: TableId) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.table(table).is_ternary())
    }

    /// Whether `wanted` is enough hotter than `present`.
    fn hotter(&self, wanted: u64, present: u64) -> bool {
        let (wanted, present) = (u128::from(wanted), u128::from(present));
        wanted * 100 > present * u128::from(self.settings.hysteresis_percent)
    }

    /// Takes the place of the coldest entry of a table, if that is colder.
    pub(crate) fn challenge(
        &mut self,
        table: TableId,
        challenger: (FlowIndex, Option<Key>),
        wanted: u64,
    ) {
        let round = self.rounds.number;
        let coldest = self.ledger.as_mut().and_then(|ledger| ledger.coldest(table, round));
        if let Some((present, victim)) = coldest {
            self.displace((present, victim), challenger, wanted);
        }
    }

    /// Takes the place of a colder entry of the same flow, which has as many as it may have.
    fn rotate(&mut self, index: FlowIndex, key: Option<Key>, wanted: u64) {
        let round = self.rounds.number;
        let (Some(ledger), Some(record)) = (self.ledger.as_ref(), self.flows.get(index)) else {
            return;
        };
        let own = record.entries().iter().filter(|id| ledger.entries[id].may_leave());
        let coldest = own.map(|id| (ledger.entries[id].heat.at(round), *id)).min();
        if let Some(victim) = coldest {
            self.displace(victim, (index, key), wanted);
        }
    }

    /// Promises the place of an entry to a flow that wants it more, if the budget has both updates.
    fn displace(
        &mut self,
        (present, victim): (u64, EntryId),
        challenger: (FlowIndex, Option<Key>),
        wanted: u64,
    ) {
        if !self.hotter(wanted, present) || !self.budget.take(self.now, 2) {
            return;
        }
        let Some(table) = self.ledger.as_ref().map(|ledger| ledger.entries[&victim].table) else {
            return;
        };
        self.evict(victim);
        if let Some(record) = self.flows.get_mut(challenger.0) {
            let seen = record.seen_mut();
            seen.promised = seen.promised.saturating_add(1);
        }
        self.vacancies.entry(table).or_default().push_back(challenger);
    }

    pub(crate) fn evict(&mut self, victim: EntryId) {
        let flow = self.ledger.as_ref().and_then(|l| l.entries.get(&victim)).map(|e| e.flow);
        self.doom(victim, Doom::Now);
        if let Some(record) = flow.and_then(|flow| self.flows.get_mut(flow)) {
            record.explain(self.now, Some(WhyNot::Evicted));
        }
    }

    /// An entry has left a table: who waits for its place gets it.
    pub(crate) fn fill_vacancy(&mut self, table: TableId) {
        // Ends: each turn takes one out.
        while let Some((index, key)) = self.vacancies.get_mut(&table).and_then(VecDeque::pop_front)
        {
            if let Some(record) = self.flows.get_mut(index) {
                let seen = record.seen_mut();
                seen.promised = seen.promised.saturating_sub(1);
            }
            // Who fails is offered again with its next packets.
            if self.offer(index, key.as_ref(), Pay::Paid).is_ok() {
                break;
            }
        }
        let drained = |ledger: &Ledger| ledger.table(table).unmasked();
        if self.ledger.as_ref().is_some_and(drained) {
            self.assign_masks_at_once();
        }
    }
}

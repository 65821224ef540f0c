//! When tables are full: hotter flows take the places of the coldest entries, and banks whose mask
//! nobody wants any more get another.

use crate::engine::Engine;
use crate::flows::FlowIndex;
use crate::ledger::{Doom, Ledger};
use crate::place::evictable;
use crate::table::{Mask, Table};
use crate::why::WhyNot;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use twinpath_flow::card::{EntryId, TableId, TableKind};
use twinpath_flow::key::{Key, Line};

/// Packets that must want a mask before a bank without one takes it at once.
const DEMAND_AT_ONCE: u64 = 4;

/// Masks whose demand is counted; further ones are ignored until the end of the round.
const DEMAND_MASKS_MAX: usize = 1024;

/// Rounds between two drains of a bank.
const DRAIN_ROUNDS: u32 = 32;

/// Entries of each full table from hot to cold, made when first asked for in a round.
type Coldest = BTreeMap<TableId, Vec<(u64, EntryId)>>;

impl Engine {
    /// Ends a round's placement: offers the warm flows a last time, lets hot ones evict cold
    /// entries, and finds banks for unserved masks.
    pub(crate) fn rebalance(&mut self) {
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.tables.iter_mut().for_each(Table::relax_limit);
        }
        let mut coldest = Coldest::new();
        let mut homeless = 0;
        for (index, heat) in self.warm_by_heat() {
            for (key, why_not, wanted) in self.offer_seen(index) {
                let table = self.spots_of(index, key.as_ref()).first().map(|spot| spot.table);
                let no_bank = table.is_none_or(|table| self.is_ternary(table));
                if no_bank && matches!(why_not, WhyNot::TableFull | WhyNot::NoBank) {
                    homeless += heat;
                    self.want_mask_of(index, heat);
                }
                match (why_not, table) {
                    (WhyNot::TableFull, Some(table)) => {
                        self.challenge(table, (index, key), wanted, &mut coldest);
                    }
                    (WhyNot::Specialisations(_), _) => self.rotate(index, key, wanted),
                    _ => {}
                }
            }
            self.cool_keys(index);
        }
        self.warm.clear();
        self.assign_masks(0);
        self.drain_for(homeless);
        self.demand.clear();
    }

    /// Remembered packets count half in the next round.
    fn cool_keys(&mut self, index: FlowIndex) {
        if let Some(record) = self.flows.get_mut(index) {
            record.keys.iter_mut().for_each(|(_, seen)| *seen /= 2);
            record.keys.retain(|(_, seen)| *seen > 0);
        }
    }

    fn is_ternary(&self, table: TableId) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.table(table).is_ternary())
    }

    /// Whether `wanted` is enough hotter than `present`.
    fn hotter(&self, wanted: u64, present: u64) -> bool {
        let (wanted, present) = (u128::from(wanted), u128::from(present));
        wanted * 100 > present * u128::from(self.settings.hysteresis_percent)
    }

    /// Takes the place of the coldest entry of the flow's best table, if that is colder.
    fn challenge(
        &mut self,
        table: TableId,
        challenger: (FlowIndex, Option<Key>),
        wanted: u64,
        coldest: &mut Coldest,
    ) {
        let round = self.rounds.number;
        let Some(ledger) = self.ledger.as_ref() else { return };
        let ranked = coldest.entry(table).or_insert_with(|| by_heat(ledger, table, round));
        while let Some((present, victim)) = ranked.last().copied() {
            if !evictable(ledger, victim) {
                ranked.pop();
                continue;
            }
            if self.hotter(wanted, present) && self.budget.take(self.now) {
                ranked.pop();
                self.evict(victim);
                self.vacancies.entry(table).or_default().push_back(challenger);
            }
            return;
        }
    }

    /// Takes the place of a colder entry of the same flow, which has as many as it may have.
    fn rotate(&mut self, index: FlowIndex, key: Option<Key>, wanted: u64) {
        let round = self.rounds.number;
        let (Some(ledger), Some(record)) = (self.ledger.as_ref(), self.flows.get(index)) else {
            return;
        };
        let own = record.entries.iter().filter(|id| evictable(ledger, **id));
        let coldest = own.map(|id| (ledger.entries[id].heat.at(round), *id)).min();
        let Some((present, victim)) = coldest else { return };
        if self.hotter(wanted, present) && self.budget.take(self.now) {
            let table = ledger.entries[&victim].table;
            self.evict(victim);
            self.vacancies.entry(table).or_default().push_back((index, key));
        }
    }

    fn evict(&mut self, victim: EntryId) {
        let flow = self.ledger.as_ref().and_then(|l| l.entries.get(&victim)).map(|e| e.flow);
        self.doom(victim, Doom::Now);
        if let Some(record) = flow.and_then(|flow| self.flows.get_mut(flow)) {
            record.explain(self.now, Some(WhyNot::Evicted));
        }
    }

    /// An entry has left a table: who waits for its place gets it.
    pub(crate) fn fill_vacancy(&mut self, table: TableId) {
        let next = self.vacancies.get_mut(&table).and_then(std::collections::VecDeque::pop_front);
        if let Some((index, key)) = next {
            // When it fails the flow is offered again with its next packets.
            let _ = self.offer(index, key.as_ref());
        }
        let drained = |ledger: &Ledger| ledger.table(table).unmasked();
        if self.ledger.as_ref().is_some_and(drained) {
            self.assign_masks(DEMAND_AT_ONCE);
        }
    }

    fn want_mask_of(&mut self, index: FlowIndex, heat: u64) {
        if let Some(mask) = self.flows.get(index).map(|record| record.flow.matching.mask.head) {
            self.want_mask(mask, heat);
        }
    }

    /// Notes that a flow of this heat would like a bank with this mask.
    pub(crate) fn want_mask(&mut self, mask: Line, heat: u64) {
        if self.demand.len() < DEMAND_MASKS_MAX || self.demand.contains_key(&mask) {
            *self.demand.entry(mask).or_default() += (heat / crate::heat::ONE).max(1);
        }
        self.assign_masks(DEMAND_AT_ONCE);
    }

    /// Gives banks without a mask the masks most wanted, if at least `least` packets want them.
    ///
    /// The last such bank takes the union of all that is wanted, and of what it had before: it
    /// serves every flow, packet by packet.
    fn assign_masks(&mut self, least: u64) {
        let Some(ledger) = self.ledger.as_mut() else { return };
        loop {
            let top = self.demand.iter().max_by_key(|(mask, packets)| (**packets, Reverse(**mask)));
            let Some((mask, _)) = top.filter(|(_, packets)| **packets >= least) else { return };
            let mask = *mask;
            let banks = (0..).map(TableId).zip(&ledger.tables);
            let mut free = banks.filter(|(_, t)| t.unmasked() && mask.is_subset_of(&t.caps.fields));
            let Some((bank, table)) = free.next() else { return };
            let chosen = if free.next().is_some() {
                mask
            } else {
                let fits = |wanted: &&Line| wanted.is_subset_of(&table.caps.fields);
                self.demand.keys().filter(fits).fold(table.past_masks, |all, one| all.or(one))
            };
            ledger.set_mask(bank, chosen);
            self.demand.retain(|wanted, _| !wanted.is_subset_of(&chosen));
        }
    }

    /// Empties the coldest bank when flows that no bank serves are twice as hot, or, while at most
    /// half of it is used, when they are a sixteenth as hot: its next mask is at least as wide, so
    /// what it held comes back.
    fn drain_for(&mut self, homeless: u64) {
        let round = self.rounds.number;
        let Some(ledger) = self.ledger.as_ref() else { return };
        let next_drain = self.rounds.last_drain.map_or(0, |last| last + DRAIN_ROUNDS);
        let changing = |table: &Table| {
            table.unmasked() || matches!(table.mask, Mask::Wanted(_) | Mask::Draining(_))
        };
        if homeless == 0 || round < next_drain || ledger.tables.iter().any(changing) {
            return;
        }
        let heat_of = |id: &EntryId| ledger.entries[id].heat.at(round);
        let banks = (0..).map(TableId).zip(&ledger.tables).filter(|(_, table)| {
            table.caps.kind == TableKind::Exact && matches!(table.mask, Mask::Set(_))
        });
        let heat = banks.map(|(id, t)| (t.members.iter().map(heat_of).sum::<u64>(), id));
        let Some((heat, bank)) = heat.min() else { return };
        let table = ledger.table(bank);
        let roomy = table.members.len() <= table.caps.capacity as usize / 2;
        if homeless / 2 <= heat && !(roomy && homeless > heat / 16) {
            return;
        }
        self.rounds.last_drain = Some(round);
        let members = table.members.clone();
        let fits = |wanted: &&Line| wanted.is_subset_of(&table.caps.fields);
        let wanted = self.demand.keys().filter(fits).fold(Line::ZERO, |all, one| all.or(one));
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.table_mut(bank).drain(&wanted);
        }
        members.into_iter().for_each(|id| self.evict(id));
    }
}

/// The entries of a table that may lose their place, the coldest last.
fn by_heat(ledger: &Ledger, table: TableId, round: u32) -> Vec<(u64, EntryId)> {
    let members = ledger.table(table).members.iter().filter(|id| evictable(ledger, **id));
    let mut ranked: Vec<_> = members.map(|id| (ledger.entries[id].heat.at(round), *id)).collect();
    ranked.sort_by_key(|(heat, id)| (Reverse(*heat), *id));
    ranked
}

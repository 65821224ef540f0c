//! Which masks the exact banks have: those that the most traffic wants.

use crate::engine::Engine;
use crate::flows::FlowIndex;
use crate::table::{Mask, Table};
use std::cmp::Reverse;
use twinpath_flow::card::{EntryId, TableId, TableKind};
use twinpath_flow::key::Line;

/// Packets that must want a mask before a bank without one takes it at once.
const DEMAND_AT_ONCE: u64 = 4;

/// Masks whose demand is counted; further ones are ignored until the end of the round.
const DEMAND_MASKS_MAX: usize = 1024;

/// Rounds between two drains of a bank, and over which one must pay.
const DRAIN_ROUNDS: u32 = 64;

/// Rounds between two looks at whether one would pay.
const DRAIN_LOOK_ROUNDS: u32 = 8;

impl Engine {
    /// Ends a round: banks without a mask get one, and a bank whose mask hardly anyone wants is
    /// emptied for others.
    pub(crate) fn settle_masks(&mut self) {
        self.assign_masks(0);
        let homeless = std::mem::take(&mut self.homeless);
        self.drain_for(homeless);
        self.demand.clear();
    }

    /// Gives banks without a mask those that enough packets want.
    pub(crate) fn assign_masks_at_once(&mut self) {
        self.assign_masks(DEMAND_AT_ONCE);
    }

    /// The same for a flow's own mask.
    pub(crate) fn want_mask_of(&mut self, index: FlowIndex, heat: u64) {
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
    /// half of it is used, when they win more over the next rounds than its flows lose while their
    /// entries are written anew: its next mask is at least as wide, so what it held comes back.
    fn drain_for(&mut self, homeless: u64) {
        let round = self.rounds.number;
        let Some(ledger) = self.ledger.as_ref() else { return };
        let changing = |table: &Table| {
            table.unmasked() || matches!(table.mask, Mask::Wanted(_) | Mask::Draining(_))
        };
        if homeless == 0 || round < self.rounds.next_drain || ledger.tables.iter().any(changing) {
            return;
        }
        self.rounds.next_drain = round + DRAIN_LOOK_ROUNDS;
        let heat_of = |id: &EntryId| ledger.entries[id].heat.at(round);
        let banks = (0..).map(TableId).zip(&ledger.tables).filter(|(_, table)| {
            table.caps.kind == TableKind::Exact && matches!(table.mask, Mask::Set(_))
        });
        let heat = banks.map(|(id, t)| (t.members.iter().map(heat_of).sum::<u64>(), id));
        let Some((heat, bank)) = heat.min() else { return };
        let table = ledger.table(bank);
        let roomy = table.members.len() <= table.caps.capacity as usize / 2;
        let pays = self.rewrite_pays(homeless, heat, table.members.len());
        if homeless / 2 <= heat && !(roomy && pays) {
            return;
        }
        self.rounds.next_drain = round + DRAIN_ROUNDS;
        let members = table.members.clone();
        let fits = |wanted: &&Line| wanted.is_subset_of(&table.caps.fields);
        let wanted = self.demand.keys().filter(fits).fold(Line::ZERO, |all, one| all.or(one));
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.table_mut(bank).drain(&wanted);
        }
        members.into_iter().for_each(|id| self.evict(id));
    }

    /// Whether `homeless` gains more in the coming rounds than `heat` loses while `entries` are
    /// taken out and written again, a round at least.
    fn rewrite_pays(&self, homeless: u64, heat: u64, entries: usize) -> bool {
        let updates = 2 * entries as u64 * 1000;
        let millis = u64::try_from(self.settings.sweep_interval.as_millis()).unwrap_or(u64::MAX);
        let rounds = 1 + updates / self.budget.per_second().max(1) / millis.max(1);
        let lost = u128::from(heat) * u128::from(rounds.max(2));
        u128::from(homeless) * u128::from(DRAIN_ROUNDS) > lost
    }
}

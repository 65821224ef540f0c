//! Which entries of a full table may lose their places: its coldest, found with bounded work.

use crate::entries::Entries;
use crate::ledger::{EntryRecord, Ledger};
use std::cmp::Reverse;
use twinpath_flow::card::{EntryId, TableId};

/// Entries of one table looked at in one round; a larger table is gone through by turns.
const LOOKED_AT_MAX: usize = 8192;

/// Of those, the coldest so many are kept.
const KEPT_MAX: usize = 4096;

/// The coldest entries of one table.
#[derive(Debug, Default)]
pub(crate) struct Cold {
    /// With their heat when they were looked at, the coldest last.
    found: Vec<(u64, EntryId)>,
    /// Round in which they were looked at.
    round: Option<u32>,
    /// Member at which the next look begins.
    hand: usize,
}

impl Cold {
    fn look(&mut self, members: &[EntryId], entries: &mut Entries, round: u32) {
        self.round = Some(round);
        let mut heat = |id: &EntryId| {
            let entry = entries.get_mut(id).filter(|entry| entry.may_leave())?;
            entry.heat.advance(round);
            Some((entry.heat.at(round), *id))
        };
        let earlier: Vec<EntryId> = self.found.drain(..).map(|(_, id)| id).collect();
        let count = members.len().min(LOOKED_AT_MAX);
        let start = if self.hand < members.len() { self.hand } else { 0 };
        let turn = members[start..].iter().chain(&members[..start]).take(count);
        self.hand = (start + count) % members.len().max(1);
        if count < members.len() {
            self.found.extend(earlier.iter().filter_map(&mut heat));
        }
        self.found.extend(turn.filter_map(heat));
        if self.found.len() > KEPT_MAX {
            self.found.select_nth_unstable(KEPT_MAX);
            self.found.truncate(KEPT_MAX);
        }
        self.found.sort_unstable_by_key(|found| Reverse(*found));
        self.found.dedup();
    }
}

impl Ledger {
    /// The coldest entry of a table that may leave, with its heat; `None` when none is known.
    pub(crate) fn coldest(&mut self, table: TableId, round: u32) -> Option<(u64, EntryId)> {
        let Self { tables, entries, .. } = self;
        let table = &mut tables[usize::from(table.0)];
        let cold = &mut table.cold;
        if cold.round != Some(round) {
            cold.look(&table.members, entries, round);
        }
        let may_leave = |id: &EntryId| entries.get(id).is_some_and(EntryRecord::may_leave);
        while cold.found.pop_if(|(_, id)| !may_leave(id)).is_some() {}
        cold.found.last().copied()
    }
}

//! One table of the card as the ledger knows it, and where in it a flow could be.

use crate::cold::Cold;
use crate::match_index::MatchIndex;
use twinpath_flow::card::{EntryId, TableCaps, TableId, TableKind};
use twinpath_flow::key::{Key, Line};
use twinpath_flow::steps::Flow;

/// Members for which there is memory at least.
const MEMBERS_MIN: usize = 64;

/// A place for a flow, or for some of its packets. What it matches follows from them and the table,
/// so that it is small: [`Self::lines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) table: TableId,
    /// Whether it covers every packet of the flow.
    pub(crate) whole: bool,
    /// Of value and mask.
    pub(crate) digest: u64,
}

impl Spot {
    /// Value and mask, of the flow or its packets with `key`; `None` when it covers a part of the
    /// flow and there is no key or mask.
    pub(crate) fn lines(
        &self,
        flow: &Flow,
        key: Option<&Key>,
        tables: &[Table],
    ) -> Option<(Line, Line)> {
        if self.whole {
            return Some((flow.matching.value.head, flow.matching.mask.head));
        }
        let mask = tables[usize::from(self.table.0)].mask_line()?;
        Some((key?.head.and(mask), *mask))
    }
}

/// State of an exact table's mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// None yet, or the table is ternary.
    None,
    /// Being set.
    Wanted(Line),
    /// In force.
    Set(Line),
    /// In force, while all entries are taken out so that another can be set.
    Draining(Line),
    /// The card refused one; the table is not used in this epoch.
    Refused,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) caps: TableCaps,
    pub(crate) mask: Mask,
    /// Entries it takes at most; below the capacity after the card refused one for lack of room.
    limit: usize,
    /// Union of the masks it had before it was drained, and of those it was drained for.
    pub(crate) past_masks: Line,
    /// Entries in it, under way included.
    pub(crate) members: Vec<EntryId>,
    /// By what they match.
    index: MatchIndex,
    /// Its coldest entries.
    pub(crate) cold: Cold,
}

impl Table {
    pub(crate) fn new(caps: TableCaps) -> Self {
        let limit = caps.capacity as usize;
        Self {
            index: MatchIndex::new(caps.capacity),
            caps,
            mask: Mask::None,
            limit,
            past_masks: Line::ZERO,
            members: Vec::new(),
            cold: Cold::default(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.members.len() < self.limit
    }

    /// Whether a flow that fits another table too may take a place: only while half of a ternary
    /// table is free, since that is for flows that fit nowhere else.
    pub(crate) fn has_room_to_spare(&self) -> bool {
        self.members.len() < if self.is_ternary() { self.limit / 2 } else { self.limit }
    }

    /// The entry of this digest of which `is_it` says that it matches.
    pub(crate) fn holder(
        &self,
        digest: u64,
        is_it: impl FnMut(EntryId) -> bool,
    ) -> Option<EntryId> {
        self.index.find(digest, is_it)
    }

    /// Whether it takes entries for all of a flow with this mask.
    pub(crate) fn is_for(&self, mask: &Line) -> bool {
        self.is_ternary() || matches!(&self.mask, Mask::Set(own) if own == mask)
    }

    /// Asks for the memory that [`Self::holder`] will look at.
    pub(crate) fn touch(&self, digest: u64) {
        self.index.touch(digest);
    }

    /// Whether it is an exact table without a mask.
    pub(crate) fn unmasked(&self) -> bool {
        self.caps.kind == TableKind::Exact && self.mask == Mask::None
    }

    /// Whether its mask is being set.
    pub(crate) const fn awaits_mask(&self) -> bool {
        matches!(self.mask, Mask::Wanted(_))
    }

    /// Whether the card refused its mask.
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.mask, Mask::Refused)
    }

    /// Whether it takes entries as it is: ternary, or with a mask in force.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_ternary() || matches!(self.mask, Mask::Set(_))
    }

    pub(crate) fn is_ternary(&self) -> bool {
        self.caps.kind == TableKind::Ternary
    }

    /// Takes no more entries until it is empty, and then another mask, with `wanted` in it.
    pub(crate) fn drain(&mut self, wanted: &Line) {
        if let Mask::Set(mask) = self.mask {
            self.past_masks = self.past_masks.or(&mask).or(wanted);
            self.mask = if self.members.is_empty() { Mask::None } else { Mask::Draining(mask) };
        }
    }

    pub(crate) const fn mask_wanted(&mut self, mask: Line) {
        self.mask = Mask::Wanted(mask);
    }

    /// The mask in force or under way.
    pub(crate) const fn mask_line(&self) -> Option<&Line> {
        match &self.mask {
            Mask::None | Mask::Refused => None,
            Mask::Wanted(mask) | Mask::Set(mask) | Mask::Draining(mask) => Some(mask),
        }
    }

    pub(crate) fn enter(&mut self, id: EntryId, digest: u64) -> u32 {
        self.index.add(digest, id);
        if self.members.len() == self.members.capacity() {
            // By an eighth: twice as much memory would mostly be for nobody.
            self.members.reserve_exact(self.members.len() / 8 + MEMBERS_MIN);
        }
        self.members.push(id);
        u32::try_from(self.members.len() - 1).expect("no more than identities")
    }

    /// Takes out the member at `position`; the one that moved there, if any.
    pub(crate) fn leave(&mut self, id: EntryId, position: u32, digest: u64) -> Option<EntryId> {
        self.index.remove(digest, id);
        let position = position as usize;
        self.members.swap_remove(position);
        if self.members.is_empty() && matches!(self.mask, Mask::Draining(_)) {
            self.mask = Mask::None;
        }
        self.members.get(position).copied()
    }

    /// The card had no room for one more than the members. It takes a little less from now on: close
    /// to the brim a driver searches long for a place, and mostly in vain.
    pub(crate) fn refused_for_room(&mut self) {
        let members = self.members.len();
        self.limit = self.limit.min(members - members / 64).max(1);
    }

    /// Trusts the table again with a little more than it took last.
    pub(crate) fn relax_limit(&mut self) {
        let capacity = self.caps.capacity as usize;
        self.limit = capacity.min(self.limit + capacity / 65_536 + 1);
    }
}

//! Which bits prove that no better rule matched: the fewest that decide it.

use super::dimension::{Level, deciding_bits};
use super::group::{FEW, Group, other_metadata};
use super::scratch::{Scratch, Visit};
use super::sets::{fill, first, keep, meet, remove};
use super::table::Table;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::PlacedRule;

/// A table that a packet has passed, with its rules.
#[derive(Debug)]
pub(super) struct Passed<'a> {
    pub(super) visit: &'a Visit,
    pub(super) table: &'a Table,
    pub(super) rules: &'a [PlacedRule],
}

impl Passed<'_> {
    /// Adds to `mask` what keeps every rule that would have beaten the winner from matching.
    pub(super) fn exclude_better(&self, mask: &mut Key, scratch: &mut Scratch) {
        let Self { visit, table, .. } = self;
        let place = visit.winner.map(|winner| winner.place);
        let is_better = |group: &Group| place.is_none_or(|place| group.places[0] < place);
        // Groups are in the order of their first places.
        let better = table.groups.partition_point(is_better);
        if better == 0 {
            return;
        }
        let mut open = std::mem::take(&mut scratch.candidates);
        open.clear();
        open.resize(table.indexed.div_ceil(64).max(1), 0);
        fill(&mut open, better.min(table.indexed));
        // All bits of the winner's own mask are known.
        if let Some(winner) = visit.winner.filter(|winner| winner.group < table.indexed) {
            remove(&mut open, winner.group);
        }
        if better <= table.indexed && first(&open, 0).is_none() {
            scratch.candidates = open;
            return;
        }
        let mut known = visit.state.known(mask);
        self.exclude_known(&known, &mut open, scratch);
        while let Some(index) = first(&open, 0) {
            let group = &table.groups[index];
            if let Some((field, level)) = self.cheapest_level(index, &known, scratch) {
                visit.state.constrain_field(field, level.bits, mask);
                known = visit.state.known(mask);
                keep(&mut open, table.sets.row(level.row));
            } else {
                self.exclude_rules(group, mask, scratch);
                known = visit.state.known(mask);
                remove(&mut open, index);
            }
        }
        for group in &table.groups[table.indexed.min(better)..better] {
            self.exclude_rules(group, mask, scratch);
        }
        scratch.candidates = open;
    }

    /// Takes out the groups that bits known anyway exclude.
    fn exclude_known(&self, known: &Key, open: &mut [u64], scratch: &mut Scratch) {
        let Self { visit, table, .. } = self;
        for (index, dimension) in table.dimensions.iter().enumerate() {
            if !meet(open, table.sets.row(dimension.users)) {
                continue;
            }
            let levels = table.walk(index, &visit.state, visit.paths, scratch);
            let unknown = dimension.subject.field().map_or(0, |field| !known.get(field));
            let free = levels.iter().take_while(|level| level.bits & unknown == 0).last();
            if let Some(level) = free {
                keep(open, table.sets.row(level.row));
            }
        }
    }

    /// The cheapest bits of one field that exclude a whole group.
    fn cheapest_level(
        &self,
        index: usize,
        known: &Key,
        scratch: &mut Scratch,
    ) -> Option<(Field, Level)> {
        let Self { visit, table, .. } = self;
        let mut best: Option<((u32, Field), Level)> = None;
        for number in &table.groups[index].dimensions {
            let number = usize::from(*number);
            let Some(field) = table.dimensions[number].subject.field() else { continue };
            let levels = table.walk(number, &visit.state, visit.paths, scratch);
            let level = levels.iter().find(|level| !table.sets.has(level.row, index));
            if let Some(level) = level {
                let rank = (cost(field, level.bits & !known.get(field)), field);
                if best.is_none_or(|(other, _)| rank < other) {
                    best = Some((rank, *level));
                }
            }
        }
        best.map(|((_, field), level)| (field, level))
    }

    /// Excludes the rules of a group that would beat the winner, none of which matches.
    fn exclude_rules(&self, group: &Group, mask: &mut Key, scratch: &mut Scratch) {
        let state = &self.visit.state;
        let mut known = state.known(mask);
        if group.is_decided_by(&known) {
            return;
        }
        let winner = self.visit.winner.map(|winner| winner.place);
        let mut open = std::mem::take(&mut scratch.open);
        open.clear();
        if group.places.len() <= FEW {
            group.undecided(group.better_than(winner), &state.key, &known, &mut open);
        } else if let Some((field, places)) = group.rarest(&state.key) {
            // Then only these are left.
            state.constrain_field(field, self.distinction(group, field), mask);
            if places.len() > FEW {
                state.constrain(&group.mask, mask);
            } else {
                open.extend(places.iter().filter(|place| winner.is_none_or(|best| **place < best)));
            }
        }
        open.retain(|place| !other_metadata(&self.rules[*place as usize], state));
        loop {
            known = state.known(mask);
            open.retain(|place| self.is_undecided(*place, &known));
            if open.is_empty() {
                break;
            }
            let (field, bits) = self.best_bits(group, &open, &known);
            state.constrain_field(field, bits, mask);
        }
        scratch.open = open;
    }

    /// The bits of a field that tell the packet from all rules of a group that want another value.
    fn distinction(&self, group: &Group, field: Field) -> u128 {
        let value = self.visit.state.key.get(field);
        let dimensions = group.dimensions.iter().map(|at| &self.table.dimensions[usize::from(*at)]);
        let own = dimensions.filter(|dimension| dimension.subject.field() == Some(field));
        let bits = own.map(|dimension| dimension.distinction(value)).reduce(|a, b| a | b);
        bits.unwrap_or_else(|| group.mask.get(field))
    }

    /// Whether a rule agrees with the packet on all known bits.
    fn is_undecided(&self, place: u32, known: &Key) -> bool {
        let wanted = &self.rules[place as usize].rule.matching.key;
        let bits = wanted.mask.and(known);
        wanted.value.and(&bits) == self.visit.state.key.and(&bits)
    }

    /// The cheapest bits of one field that exclude all rules at `open`, or else the cheapest that
    /// exclude the first of them.
    fn best_bits(&self, group: &Group, open: &[u32], known: &Key) -> (Field, u128) {
        let mut best_of_all = None;
        let mut best_of_first = None;
        for (field, mask) in group.fields.iter().copied() {
            let value = self.visit.state.key.get(field);
            let mut bits = 0;
            let mut excluded = 0;
            for place in open {
                let wanted = self.rules[*place as usize].rule.matching.key.value.get(field);
                let differing = (value ^ wanted) & mask;
                if differing == 0 {
                    continue;
                }
                bits |= deciding_bits(field, mask, differing);
                excluded += 1;
                if *place == open[0] {
                    consider(&mut best_of_first, field, bits, known);
                }
            }
            if excluded == open.len() {
                consider(&mut best_of_all, field, bits, known);
            }
        }
        let (_, field, bits) = best_of_all
            .or(best_of_first)
            .expect("a rule that does not match and is not decided differs in an unknown bit");
        (field, bits)
    }
}

type Best = Option<(u32, Field, u128)>;

fn consider(best: &mut Best, field: Field, bits: u128, known: &Key) {
    let candidate = (cost(field, bits & !known.get(field)), field, bits);
    if best.is_none_or(|best| candidate < best) {
        *best = Some(candidate);
    }
}

/// How many more flows it takes, roughly, to tell packets apart by these bits (log 2).
///
/// Fields of which traffic has few values are cheap however wide they are.
const fn cost(field: Field, new_bits: u128) -> u32 {
    let count = new_bits.count_ones();
    match field {
        Field::InPort | Field::EthType | Field::IpFrag | Field::IpProto => {
            if count > 0 {
                1
            } else {
                0
            }
        }
        _ => count,
    }
}

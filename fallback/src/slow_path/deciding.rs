//! Which bits prove that no better rule matched: the fewest that decide it.

use super::state::State;
use super::table::{Group, Table, deciding_bits};
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::pipeline::PlacedRule;

/// Groups up to this size are looked at rule by rule, which finds fewer bits; larger ones field by
/// field, which is fast.
const SMALL_GROUP: usize = 64;

/// A packet in front of a table it has passed.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    /// The packet's state at the lookup.
    pub(super) state: State,
    /// The table's index.
    pub(super) table: &'a Table,
    /// The table's rules.
    pub(super) rules: &'a [PlacedRule],
    /// Place of the rule that won, if one matched.
    pub(super) winner: Option<usize>,
}

impl Visit<'_> {
    /// Adds to `matching` what keeps every rule that would have beaten the winner from matching.
    pub(super) fn exclude_better(&self, received: &Key, matching: &mut MaskedKey) {
        let winner = self.winner.map(|place| (place, self.rules[place].rule.priority));
        for group in &self.table.groups {
            if winner.is_some_and(|(_, priority)| group.priority < priority) {
                break;
            }
            let better = match winner {
                Some((place, priority)) if group.priority == priority => {
                    group.places.partition_point(|other| *other < place)
                }
                _ => group.places.len(),
            };
            if better > 0 {
                self.exclude_group(group, better, received, matching);
            }
        }
    }

    /// Excludes the first `better` rules of a group, none of which matches.
    fn exclude_group(
        &self,
        group: &Group,
        better: usize,
        received: &Key,
        matching: &mut MaskedKey,
    ) {
        let known = self.state.known(matching);
        if group.mask.is_subset_of(&known) {
            return;
        }
        let all = better == group.places.len();
        if all && group.places.len() > SMALL_GROUP {
            let key = &self.state.key;
            let best = group
                .fields
                .iter()
                .filter_map(|values| {
                    let bits = values.deciding_bits(key.get(values.field))?;
                    Some((cost(values.field, bits & !known.get(values.field)), values.field, bits))
                })
                .min();
            if let Some((_, field, bits)) = best {
                self.state.constrain_field(field, bits, received, matching);
                return;
            }
        }
        let mut open = self.undecided(group, &group.places[..better], &known);
        while !open.is_empty() {
            let known = self.state.known(matching);
            let (field, bits) = self.best_bits(group, &open, &known);
            self.state.constrain_field(field, bits, received, matching);
            let known = self.state.known(matching);
            open = self.undecided(group, &open, &known);
        }
    }

    /// Those of `places` whose rules agree with the packet on all known bits.
    fn undecided(&self, group: &Group, places: &[usize], known: &Key) -> Vec<usize> {
        let known = group.mask.and(known);
        let value = self.state.key.and(&known);
        let agrees = |place: &&usize| {
            let matching = &self.rules[**place].rule.matching;
            self.state.metadata & matching.metadata_mask == matching.metadata
                && value.matches(&matching.key.value.and(&known), &known)
        };
        places.iter().filter(agrees).copied().collect()
    }

    /// The cheapest bits of one field that exclude all rules at `open`, or else the cheapest that
    /// exclude the first of them.
    fn best_bits(&self, group: &Group, open: &[usize], known: &Key) -> (Field, u128) {
        let mut best_of_all = None;
        let mut best_of_first = None;
        for values in &group.fields {
            let (field, mask) = (values.field, values.mask);
            let value = self.state.key.get(field);
            let mut bits = 0;
            let mut excluded = 0;
            for place in open {
                let wanted = self.rules[*place].rule.matching.key.value.get(field);
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

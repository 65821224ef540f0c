//! Rules of one mask.

use super::compact::Compact;
use super::state::State;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use twinpath_flow::field::{FIELDS, Field};
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::PlacedRule;

/// Up to so many rules are looked at one by one, which finds the fewest bits.
pub(super) const FEW: usize = 64;

/// Rules of one mask, in a large table of any priorities, else of one. Of those that a packet
/// matches the first is meant.
#[derive(Debug)]
pub(super) struct Group {
    /// Their mask.
    pub(super) mask: Key,
    /// Their metadata mask.
    pub(super) metadata_mask: u64,
    /// Their places in the table, ascending: the lowest wins.
    pub(super) places: Vec<u32>,
    /// The dimensions they match in.
    pub(super) dimensions: Vec<u16>,
    /// The fields they match and the bits of each.
    pub(super) fields: Vec<(Field, u128)>,
    /// Their values, in the order of places.
    values: Compact,
    /// For many rules: places by the value of each of [`Self::fields`].
    by_value: Vec<HashMap<u128, Vec<u32>, FixedState>>,
}

impl Group {
    /// The rules at `places` of a table, which is not empty.
    pub(super) fn new(rules: &[PlacedRule], places: Vec<u32>, seed: u64) -> Self {
        let matching = |place: u32| &rules[place as usize].rule.matching;
        let (mask, metadata_mask) = {
            let first = matching(places[0]);
            (first.key.mask, first.metadata_mask)
        };
        let state = FixedState::with_seed(seed);
        let mut values = Compact::new(&mask, metadata_mask, places.len(), seed);
        for place in &places {
            let matching = matching(*place);
            values.push(&matching.key.value, matching.metadata);
        }
        let used = FIELDS.iter().map(|spec| (spec.field, mask.get(spec.field)));
        let fields: Vec<(Field, u128)> = used.filter(|(_, bits)| *bits != 0).collect();
        let mut by_value = Vec::new();
        if places.len() > FEW {
            for (field, _) in &fields {
                let mut index: HashMap<u128, Vec<u32>, FixedState> =
                    HashMap::with_hasher(state.clone());
                for place in &places {
                    index.entry(matching(*place).key.value.get(*field)).or_default().push(*place);
                }
                by_value.push(index);
            }
        }
        let dimensions = Vec::new();
        Self { mask, metadata_mask, places, dimensions, fields, values, by_value }
    }

    /// The best place of a rule that matches.
    pub(super) fn lookup(&self, key: &Key, metadata: u64) -> Option<u32> {
        self.values.find(key, metadata).map(|number| self.places[number])
    }

    /// Of the first `better` places those whose rules agree with a packet on all `known` bits.
    pub(super) fn undecided(&self, better: usize, key: &Key, known: &Key, open: &mut Vec<u32>) {
        open.clear();
        let agrees = |(number, _): &(usize, &u32)| self.values.agrees(*number, key, known);
        let places = self.places[..better].iter().enumerate();
        open.extend(places.filter(agrees).map(|(_, place)| *place));
    }

    /// With many rules: the field whose value in `key` the fewest rules want, and their places.
    pub(super) fn rarest(&self, key: &Key) -> Option<(Field, &[u32])> {
        let found = self.fields.iter().zip(&self.by_value).map(|((field, bits), index)| {
            let places = index.get(&(key.get(*field) & bits)).map_or(&[][..], Vec::as_slice);
            (*field, places)
        });
        found.min_by_key(|(.., places)| places.len())
    }

    /// Whether all bits that the rules match are among `known`.
    pub(super) fn is_decided_by(&self, known: &Key) -> bool {
        self.values.is_decided_by(known)
    }

    /// How many places are before the winner's, which may be none.
    pub(super) fn better_than(&self, winner: Option<u32>) -> usize {
        winner.map_or(self.places.len(), |winner| {
            self.places.partition_point(|place| *place < winner)
        })
    }
}

/// Whether a rule wants other metadata than the state has.
pub(super) fn other_metadata(rule: &PlacedRule, state: &State) -> bool {
    let matching = &rule.rule.matching;
    state.metadata & matching.metadata_mask != matching.metadata
}

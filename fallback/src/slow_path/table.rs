//! One table, indexed: groups of rules of one mask, and for each field the groups that a packet's
//! value excludes (tuple pruning: Srinivasan, Suri, Varghese, SIGCOMM 1999).

use super::dimension::{Dimension, Level, Subject};
use super::group::Group;
use super::scratch::{Path, Scratch, Winner};
use super::sets::{Sets, add, first, keep, meet};
use super::state::State;
use std::collections::{BTreeMap, HashMap};
use twinpath_flow::pipeline::PlacedRule;

/// With more pairs of priority and mask than this, rules of one mask are one group whatever their
/// priorities: that is fast, and demands a few bits more.
const FINE_GROUPS_MAX: usize = 256;

/// Groups that have a place in the sets. More masks than this are looked at one by one.
const INDEXED_MAX: usize = 2048;

/// A table: groups by their first places, so that the best come first.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) groups: Vec<Group>,
    pub(super) dimensions: Vec<Dimension>,
    pub(super) sets: Sets,
    /// The groups that have a place in the sets: the first so many.
    pub(super) indexed: usize,
    /// These, as a set.
    all: Box<[u64]>,
}

impl Table {
    /// Indexes the rules of a table, which come highest priority first.
    pub(super) fn new(rules: &[PlacedRule], seed: u64) -> Self {
        let groups = group(rules, seed);
        let indexed = groups.len().min(INDEXED_MAX);
        let sets = Sets::new(indexed, seed);
        let mut all = sets.empty();
        (0..indexed).for_each(|group| add(&mut all, group));
        let mut table = Self { groups, dimensions: Vec::new(), sets, indexed, all };
        let mut wanted: BTreeMap<Subject, Vec<(u128, u128, usize)>> = BTreeMap::new();
        for (index, group) in table.groups[..indexed].iter().enumerate() {
            let matchings = || {
                let place = |place: &u32| &rules[*place as usize].rule.matching;
                group.places.iter().map(place)
            };
            if group.metadata_mask != 0 {
                let mask = group.metadata_mask;
                let values = wanted.entry(Subject::Metadata(mask)).or_default();
                values.extend(
                    matchings()
                        .map(|matching| (u128::from(matching.metadata), u128::from(mask), index)),
                );
            }
            for (field, bits) in &group.fields {
                let values = wanted.entry(Subject::of(*field, *bits)).or_default();
                let value = |matching: &twinpath_flow::rule::Match| matching.key.value.get(*field);
                values.extend(matchings().map(|matching| (value(matching), *bits, index)));
            }
        }
        for (subject, wanted) in wanted {
            let Ok(number) = u16::try_from(table.dimensions.len()) else { break };
            let dimension = Dimension::new(subject, &wanted, &table.all, &mut table.sets, seed);
            for (.., group) in wanted {
                if table.groups[group].dimensions.last() != Some(&number) {
                    table.groups[group].dimensions.push(number);
                }
            }
            table.dimensions.push(dimension);
        }
        table.sets.finish();
        table
    }

    /// The rule that wins. The ways through the dimensions are kept in `scratch`, from
    /// the path `paths` on, one for each dimension.
    pub(super) fn lookup(
        &self,
        state: &State,
        paths: usize,
        scratch: &mut Scratch,
    ) -> Option<Winner> {
        scratch.paths.resize(paths + self.dimensions.len(), Path::default());
        let mut candidates = std::mem::take(&mut scratch.candidates);
        candidates.clear();
        candidates.extend_from_slice(&self.all);
        for (index, dimension) in self.dimensions.iter().enumerate() {
            if meet(&candidates, self.sets.row(dimension.users))
                && let Some(last) = self.walk(index, state, paths, scratch).last()
            {
                keep(&mut candidates, self.sets.row(last.row));
            }
        }
        let mut best: Option<Winner> = None;
        let mut look = |index: usize| {
            let group = &self.groups[index];
            if best.is_some_and(|best| best.place < group.places[0]) {
                return false;
            }
            let found = group.lookup(&state.key, state.metadata);
            let better = |place: &u32| best.is_none_or(|best| *place < best.place);
            if let Some(place) = found.filter(better) {
                best = Some(Winner { group: index, place });
            }
            true
        };
        let mut from = 0;
        while let Some(index) = first(&candidates, from) {
            if !look(index) {
                break;
            }
            from = index + 1;
        }
        let _ = (self.indexed..self.groups.len()).all(look);
        scratch.candidates = candidates;
        best
    }

    /// The levels of a dimension for a packet, found now unless they were before.
    pub(super) fn walk<'s>(
        &self,
        index: usize,
        state: &State,
        paths: usize,
        scratch: &'s mut Scratch,
    ) -> &'s [Level] {
        let dimension = &self.dimensions[index];
        let Scratch { paths: all, levels, .. } = scratch;
        let path = &mut all[paths + index];
        if !path.is_walked {
            let value = match dimension.subject.field() {
                Some(field) => state.key.get(field),
                None => u128::from(state.metadata),
            };
            path.is_walked = true;
            path.start = levels.len();
            dimension.walk(value, |level| levels.push(level));
            path.end = levels.len();
        }
        &levels[path.start..path.end]
    }
}

/// Rules by mask, and by priority if that does not make too many groups.
fn group(rules: &[PlacedRule], seed: u64) -> Vec<Group> {
    let gather = |by_priority: bool| {
        let mut places: Vec<Vec<u32>> = Vec::new();
        let mut by_mask = HashMap::new();
        for (place, placed) in (0_u32..).zip(rules) {
            let matching = &placed.rule.matching;
            let priority = if by_priority { placed.rule.priority } else { 0 };
            let mask = (priority, matching.key.mask, matching.metadata_mask);
            let index = *by_mask.entry(mask).or_insert_with(|| {
                places.push(Vec::new());
                places.len() - 1
            });
            places[index].push(place);
        }
        places
    };
    let mut places = gather(true);
    if places.len() > FINE_GROUPS_MAX {
        places = gather(false);
    }
    places.into_iter().map(|places| Group::new(rules, places, seed)).collect()
}

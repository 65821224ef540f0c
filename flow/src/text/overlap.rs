//! Finds rules of one table and priority that some packet matches both.
//!
//! Rules are grouped by mask; two groups are compared by hashing the values under the bits they
//! have in common, so a file of n rules with m masks costs about n × m. A file with very many masks
//! is searched up to [`LOOKUPS_MAX`], then overlaps go without a warning; replacements never do.

use super::error::{Doubt, TextWarning};
use super::rules::ParsedRule;
use crate::key::{Key, MaskedKey};
use crate::rule::Match;
use std::collections::{BTreeMap, HashMap};

/// Most rules looked up for overlaps in one file: well below a second.
const LOOKUPS_MAX: usize = 2_000_000;

/// Key mask and metadata mask.
type Mask = (Key, u64);

/// Rules of one table, priority and mask, in file order.
#[derive(Debug)]
struct Group {
    mask: Mask,
    rules: Vec<usize>,
}

/// Puts a warning on each rule that an earlier one overlaps, or that replaces an earlier one.
pub(super) fn warn(source_name: &str, rules: &mut [ParsedRule]) {
    let mut earlier: Vec<Option<usize>> = vec![None; rules.len()];
    let mut lookups = 0;
    let tables = grouped(rules);
    for group in tables.values().flatten() {
        note_overlaps(rules, group, group, &mut earlier);
    }
    for groups in tables.values() {
        let pairs = groups.iter().flat_map(|later| groups.iter().map(move |other| (later, other)));
        for (later, other) in pairs.filter(|(later, other)| later.mask != other.mask) {
            lookups += later.rules.len() + other.rules.len();
            if lookups > LOOKUPS_MAX {
                break;
            }
            note_overlaps(rules, later, other, &mut earlier);
        }
    }
    for (index, earlier) in earlier.iter().enumerate() {
        let Some(earlier) = *earlier else { continue };
        let earlier_line = rules[earlier].line;
        let doubt = if rules[earlier].rule.matching == rules[index].rule.matching {
            Doubt::Replaces { earlier_line }
        } else {
            Doubt::Overlap { earlier_line }
        };
        let line = rules[index].line;
        let source_name = source_name.to_owned();
        rules[index].warnings.push(TextWarning { source_name, line, doubt });
    }
}

fn grouped(rules: &[ParsedRule]) -> BTreeMap<(u8, u16), Vec<Group>> {
    let mut tables: BTreeMap<(u8, u16), Vec<Group>> = BTreeMap::new();
    let mut places: HashMap<((u8, u16), Mask), usize> = HashMap::new();
    for (index, parsed) in rules.iter().enumerate() {
        let place = (parsed.rule.table, parsed.rule.priority);
        let matching = &parsed.rule.matching;
        let mask = (matching.key.mask, matching.metadata_mask);
        let groups = tables.entry(place).or_default();
        let group = *places.entry((place, mask)).or_insert_with(|| {
            groups.push(Group { mask, rules: Vec::new() });
            groups.len() - 1
        });
        groups[group].rules.push(index);
    }
    tables
}

/// For each rule of `later`, the first rule before it in `other` that overlaps it.
fn note_overlaps(
    rules: &[ParsedRule],
    later: &Group,
    other: &Group,
    earlier: &mut [Option<usize>],
) {
    let common = (later.mask.0.and(&other.mask.0), later.mask.1 & other.mask.1);
    let under = |index: usize| projection(&rules[index].rule.matching, &common);
    let mut first: HashMap<(Key, u64), usize> = HashMap::with_capacity(other.rules.len());
    for &index in &other.rules {
        first.entry(under(index)).or_insert(index);
    }
    for &index in &later.rules {
        if let Some(&found) = first.get(&under(index))
            && found < index
            && earlier[index].is_none_or(|known| found < known)
        {
            earlier[index] = Some(found);
        }
    }
}

fn projection(matching: &Match, (mask, metadata_mask): &Mask) -> (Key, u64) {
    let MaskedKey { value, .. } = &matching.key;
    (value.and(mask), matching.metadata & metadata_mask)
}

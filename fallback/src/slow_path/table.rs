//! One table, indexed for lookups: rules of one priority and mask are one group.

use foldhash::fast::FixedState;
use std::collections::HashMap;
use twinpath_flow::field::{FIELDS, Field};
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::PlacedRule;

/// Rules of one priority and one mask. At most one of them matches a packet.
#[derive(Debug)]
pub(super) struct Group {
    /// Their priority.
    pub(super) priority: u16,
    /// Their mask.
    pub(super) mask: Key,
    /// Their metadata mask.
    pub(super) metadata_mask: u64,
    /// Their places in the table, ascending; the lowest wins among equal priorities.
    pub(super) places: Vec<usize>,
    /// Place by masked values.
    exact: HashMap<(Key, u64), usize, FixedState>,
    /// The fields they match, in key order.
    pub(super) fields: Vec<FieldValues>,
}

/// What the rules of a group want of one field.
#[derive(Debug)]
pub(super) struct FieldValues {
    /// The field.
    pub(super) field: Field,
    /// Bits of it in the group's mask.
    pub(super) mask: u128,
    /// All values wanted, ascending, each once.
    pub(super) values: Vec<u128>,
}

/// A table: groups by falling priority.
#[derive(Debug)]
pub(super) struct Table {
    /// Groups, by falling priority, then first place.
    pub(super) groups: Vec<Group>,
}

impl Table {
    /// Indexes the rules of a table, which come highest priority first.
    pub(super) fn new(rules: &[PlacedRule], seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        let mut groups: Vec<Group> = Vec::new();
        let mut by_mask = HashMap::with_hasher(state.clone());
        for (place, placed) in rules.iter().enumerate() {
            let matching = &placed.rule.matching;
            let mask = (placed.rule.priority, matching.key.mask, matching.metadata_mask);
            let index = *by_mask.entry(mask).or_insert_with(|| {
                groups.push(Group::new(mask, state.clone()));
                groups.len() - 1
            });
            groups[index].insert(place, matching.key.value, matching.metadata);
        }
        groups.iter_mut().for_each(Group::finish);
        Self { groups }
    }

    /// The place of the rule that wins.
    pub(super) fn lookup(&self, key: &Key, metadata: u64) -> Option<usize> {
        let mut best: Option<(u16, usize)> = None;
        for group in &self.groups {
            if best.is_some_and(|(priority, _)| priority > group.priority) {
                break;
            }
            if let Some(place) = group.lookup(key, metadata)
                && best.is_none_or(|(_, earlier)| place < earlier)
            {
                best = Some((group.priority, place));
            }
        }
        best.map(|(_, place)| place)
    }
}

impl Group {
    fn new((priority, mask, metadata_mask): (u16, Key, u64), state: FixedState) -> Self {
        let fields = FIELDS.iter().filter(|spec| mask.get(spec.field) != 0);
        Self {
            priority,
            mask,
            metadata_mask,
            places: Vec::new(),
            exact: HashMap::with_hasher(state),
            fields: fields
                .map(|spec| FieldValues {
                    field: spec.field,
                    mask: mask.get(spec.field),
                    values: Vec::new(),
                })
                .collect(),
        }
    }

    fn insert(&mut self, place: usize, value: Key, metadata: u64) {
        self.places.push(place);
        self.exact.insert((value, metadata), place);
        for field in &mut self.fields {
            field.values.push(value.get(field.field));
        }
    }

    fn finish(&mut self) {
        for field in &mut self.fields {
            field.values.sort_unstable();
            field.values.dedup();
        }
    }

    fn lookup(&self, key: &Key, metadata: u64) -> Option<usize> {
        self.exact.get(&(key.and(&self.mask), metadata & self.metadata_mask)).copied()
    }
}

impl FieldValues {
    /// The bits of this field that tell `value` from all values wanted, or `None` when it is one
    /// of them: for a field with prefixes, those down to the first that differs.
    pub(super) fn deciding_bits(&self, value: u128) -> Option<u128> {
        let value = value & self.mask;
        let next = self.values.binary_search(&value).err()?;
        let neighbours = next.saturating_sub(1)..(next + 1).min(self.values.len());
        self.values[neighbours]
            .iter()
            .map(|wanted| deciding_bits(self.field, self.mask, value ^ wanted))
            .reduce(|a, b| a | b)
    }
}

/// Whether bits of a field are taken from the top down to the first that differs, rather than all.
const fn takes_prefixes(field: Field) -> bool {
    !matches!(
        field,
        Field::InPort
            | Field::EthType
            | Field::VlanTci
            | Field::InnerVlanTci
            | Field::InnerVlanTpid
            | Field::IpProto
            | Field::IpTos
            | Field::IpTtl
            | Field::IpFrag
            | Field::TcpFlags
            | Field::Qfi
    )
}

/// The canonical bits of a field under `mask` that prove a difference; `differing` is not 0.
///
/// Canonical so that few distinct masks arise: a prefix for addresses, ports and ids, the present
/// bit for a tag that is there or not, else all of the field's masked bits.
pub(super) fn deciding_bits(field: Field, mask: u128, differing: u128) -> u128 {
    const PRESENT: u128 = 0x1000;
    let is_tag = matches!(field, Field::VlanTci | Field::InnerVlanTci);
    if takes_prefixes(field) {
        mask & (u128::MAX << (127 - differing.leading_zeros()))
    } else if is_tag && differing & PRESENT != 0 {
        PRESENT
    } else {
        mask
    }
}

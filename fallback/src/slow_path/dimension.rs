//! One field as rules of a table match it: which groups of rules a packet's value excludes, and how
//! many of its bits it takes.

use super::sets::{Row, Sets, add};
use super::trie::{Trie, Word};
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, HashMap};
use twinpath_flow::field::Field;

/// Tag-present bit of a tag field.
const PRESENT: u128 = 0x1000;

/// Prefixes that prove a difference end at a multiple of this many bits.
///
/// Each mask costs every lookup in the tuple space a probe: with whole bytes 100,000 packets under
/// an access list of 10,000 rules make a third more flows, and a tenth of the masks.
const STEP: u32 = 8;

/// Bits of a field and the groups that can match a packet when they are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Bits of the field.
    pub(super) bits: u128,
    /// Groups.
    pub(super) row: Row,
}

/// What a dimension is about; equal for groups that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The pipeline's metadata, these bits of it. No bit of a packet decides it.
    Metadata(u64),
    /// Exactly these bits of a field, wholly compared.
    Whole(Field, u128),
    /// Leading bits of a field, the topmost of which is this one (1 for the lowest).
    Leading(Field, u32),
    /// Leading ones of these bits of a field.
    Scattered(Field, u128),
}

/// How the groups' values are found.
#[derive(Debug)]
enum Index {
    Exact(Exact),
    /// Of up to 64 bits.
    Short(Trie<u64>),
    Long(Trie<u128>),
}

/// Values that are compared as a whole.
#[derive(Debug)]
struct Exact {
    /// Groups that can match a value.
    values: HashMap<u128, Row, FixedState>,
    /// Groups that can match any other value.
    nobody: Row,
    /// Of a tag: groups that can match when it is known to be absent, or present.
    present: Option<[Row; 2]>,
}

/// One dimension of a table.
#[derive(Debug)]
pub(super) struct Dimension {
    pub(super) subject: Subject,
    /// Groups that match it.
    pub(super) users: Row,
    index: Index,
}

impl Subject {
    /// The subject of rules that match `mask` of a field.
    pub(super) const fn of(field: Field, mask: u128) -> Self {
        if !takes_prefixes(field) {
            return Self::Whole(field, mask);
        }
        let width = field.full_mask().count_ones();
        // IPv4 addresses are the lowest 32 bits of a field for both families.
        let top = if matches!(field, Field::IpSrc | Field::IpDst) && mask >> 32 == 0 {
            32
        } else {
            width
        };
        let leading = (u128::MAX >> (128 - top)) ^ mask;
        if leading & leading.wrapping_add(1) == 0 {
            Self::Leading(field, top)
        } else {
            Self::Scattered(field, mask)
        }
    }

    /// The field, unless it is metadata.
    pub(super) const fn field(self) -> Option<Field> {
        match self {
            Self::Metadata(_) => None,
            Self::Whole(field, _) | Self::Leading(field, _) | Self::Scattered(field, _) => {
                Some(field)
            }
        }
    }

    /// How many bits a trie takes; `None` when values are compared as a whole.
    const fn bit_count(self) -> Option<u32> {
        match self {
            Self::Leading(_, top) => Some(top),
            Self::Scattered(_, mask) => Some(mask.count_ones()),
            Self::Metadata(_) | Self::Whole(..) => None,
        }
    }

    /// The trie of all values wanted, in words that `word` makes of aligned ones.
    fn trie<W: Word>(
        self,
        zero: W,
        word: impl Fn(u128) -> W,
        wanted: &[(u128, u128, usize)],
        (others, sets): (&[u64], &mut Sets),
    ) -> Trie<W> {
        let mut trie = Trie::new(zero, sets.intern(others));
        for (value, mask, group) in wanted {
            let len = match self {
                Self::Scattered(..) => mask.count_ones(),
                _ => self.align(*mask).leading_ones(),
            };
            trie.insert(word(self.align(*value)), len, *group);
        }
        trie.finish(others, sets);
        trie
    }

    /// Bits of a value as a trie takes them: from the top.
    fn align(self, value: u128) -> u128 {
        match self {
            Self::Leading(_, top) => value << (128 - top),
            Self::Scattered(_, mask) => gather(value, mask),
            Self::Metadata(_) | Self::Whole(..) => value,
        }
    }

    /// The field's bits that are the first `depth` of an aligned value, or a few more.
    fn bits(self, depth: u32) -> u128 {
        let leading = |depth| u128::MAX << (128 - depth);
        match self {
            Self::Leading(_, top) => leading(depth.next_multiple_of(STEP).min(top)) >> (128 - top),
            Self::Scattered(_, mask) => scatter(leading(depth), mask),
            Self::Metadata(_) => 0,
            Self::Whole(_, mask) => mask,
        }
    }

    const fn has_present_bit(self) -> bool {
        matches!(self, Self::Whole(Field::VlanTci | Field::InnerVlanTci, mask) if mask & PRESENT != 0)
    }
}

impl Dimension {
    /// The dimension of a subject, for groups that want values of it: value, bits of it compared,
    /// group. `all` groups are those of the table that have a place in its sets.
    pub(super) fn new(
        subject: Subject,
        wanted: &[(u128, u128, usize)],
        all: &[u64],
        sets: &mut Sets,
        seed: u64,
    ) -> Self {
        let mut using = sets.empty();
        wanted.iter().for_each(|(.., group)| add(&mut using, *group));
        let others: Box<[u64]> = all.iter().zip(&using).map(|(all, using)| all & !using).collect();
        let users = sets.intern(&using);
        if let Some(count) = subject.bit_count() {
            let index = if count <= 64 {
                Index::Short(subject.trie(0, top_half, wanted, (&others, sets)))
            } else {
                Index::Long(subject.trie(0, |value| value, wanted, (&others, sets)))
            };
            return Self { subject, users, index };
        }
        let mut values: BTreeMap<u128, Box<[u64]>> = BTreeMap::new();
        let mut present = [others.clone(), others.clone()];
        for (value, _, group) in wanted {
            add(values.entry(*value).or_insert_with(|| others.clone()), *group);
            add(&mut present[usize::from(value & PRESENT != 0)], *group);
        }
        let mut index =
            HashMap::with_capacity_and_hasher(values.len(), FixedState::with_seed(seed));
        index.extend(values.into_iter().map(|(value, set)| (value, sets.intern(&set))));
        let index = Exact {
            values: index,
            nobody: sets.intern(&others),
            present: subject.has_present_bit().then(|| present.map(|set| sets.intern(&set))),
        };
        Self { subject, users, index: Index::Exact(index) }
    }

    /// The bits of the field that tell a value from all others that are wanted.
    pub(super) fn distinction(&self, value: u128) -> u128 {
        let bits = |depth| if depth == 0 { 0 } else { self.subject.bits(depth) };
        match (&self.index, self.subject) {
            (Index::Short(trie), subject) => bits(trie.distinction(top_half(subject.align(value)))),
            (Index::Long(trie), subject) => bits(trie.distinction(subject.align(value))),
            (Index::Exact(_), Subject::Whole(_, mask)) => mask,
            (Index::Exact(_), _) => 0,
        }
    }

    /// Calls `level` with bits of the field, more each time, and the groups that can match when
    /// these are known, for a packet with that value.
    pub(super) fn walk(&self, value: u128, mut level: impl FnMut(Level)) {
        match &self.index {
            Index::Short(trie) => {
                trie.walk(top_half(self.subject.align(value)), |depth, row| {
                    level(Level { bits: self.subject.bits(depth), row });
                });
            }
            Index::Long(trie) => trie.walk(self.subject.align(value), |depth, row| {
                level(Level { bits: self.subject.bits(depth), row });
            }),
            Index::Exact(exact) => {
                let (bits, mask) = match self.subject {
                    Subject::Metadata(mask) => (0, u128::from(mask)),
                    Subject::Whole(_, mask) | Subject::Scattered(_, mask) => (mask, mask),
                    Subject::Leading(..) => unreachable!("a prefix is found by a trie"),
                };
                if let Some(rows) = exact.present {
                    let row = rows[usize::from(value & PRESENT != 0)];
                    level(Level { bits: PRESENT, row });
                }
                let row = exact.values.get(&(value & mask)).copied().unwrap_or(exact.nobody);
                level(Level { bits, row });
            }
        }
    }
}

/// The upper half of an aligned value of at most 64 bits.
const fn top_half(value: u128) -> u64 {
    (value >> 64) as u64
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
/// Canonical so that few distinct masks arise: a prefix of whole bytes for addresses, ports and ids,
/// the present bit for a tag that is there or not, else all of the field's masked bits.
pub(super) fn deciding_bits(field: Field, mask: u128, differing: u128) -> u128 {
    let is_tag = matches!(field, Field::VlanTci | Field::InnerVlanTci);
    if takes_prefixes(field) {
        let differs_at = 127 - differing.leading_zeros();
        mask & (u128::MAX << (differs_at / STEP * STEP))
    } else if is_tag && differing & PRESENT != 0 {
        PRESENT
    } else {
        mask
    }
}

/// The bits of `value` under `mask`, put together from the top of the word.
fn gather(value: u128, mask: u128) -> u128 {
    let mut rest = mask;
    let mut gathered = 0;
    for place in (0..128).rev().take(mask.count_ones() as usize) {
        let top = 127 - rest.leading_zeros();
        gathered |= (value >> top & 1) << place;
        rest &= !(1 << top);
    }
    gathered
}

/// The opposite: bits from the top of the word, put to the places of `mask`.
fn scatter(value: u128, mask: u128) -> u128 {
    let mut rest = mask;
    let mut scattered = 0;
    for place in (0..128).rev().take(mask.count_ones() as usize) {
        let top = 127 - rest.leading_zeros();
        scattered |= (value >> place & 1) << top;
        rest &= !(1 << top);
    }
    scattered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_bits_are_gathered_in_order_and_go_back() {
        let mask = 0x8001_0000_00f0;
        assert_eq!(gather(0x8000_0000_0050, mask) >> 122, 0b10_0101);
        assert_eq!(scatter(gather(u128::MAX, mask), mask), mask);
        assert_eq!(scatter(gather(0x1234_5678_9abc, mask), mask), 0x1234_5678_9abc & mask);
    }

    #[test]
    fn a_mask_from_the_top_is_a_prefix_and_another_is_not() {
        assert_eq!(Subject::of(Field::IpDst, 0xffff_ff00), Subject::Leading(Field::IpDst, 32));
        assert_eq!(Subject::of(Field::IpDst, u128::MAX << 64), Subject::Leading(Field::IpDst, 128));
        assert_eq!(Subject::of(Field::L4Dst, 0xfff0), Subject::Leading(Field::L4Dst, 16));
        let group_bit = 1 << 40;
        let scattered = Subject::Scattered(Field::EthDst, group_bit);
        assert_eq!(Subject::of(Field::EthDst, group_bit), scattered);
        assert_eq!(Subject::of(Field::VlanTci, PRESENT), Subject::Whole(Field::VlanTci, PRESENT));
    }
}

//! A binary trie over the values that groups of rules want of one field: how many leading bits of a
//! packet's value it takes to exclude each group.
//!
//! Edges are compressed. Values are held from the top bit of a word downwards.

use super::sets::{Row, Sets, add, unite};

const NONE: u32 = u32::MAX;

/// A word that values are held in.
pub(super) trait Word: Copy {
    /// The bit behind `depth` leading ones; `depth` is less than there are.
    fn bit(self, depth: u32) -> usize;
    /// How many leading bits two words have in common.
    fn common(self, other: Self) -> u32;
    /// Only the first `depth` bits, at least one.
    fn prefix(self, depth: u32) -> Self;
}

impl Word for u64 {
    #[inline(always)]
    fn bit(self, depth: u32) -> usize {
        (self >> (63 - depth) & 1) as usize
    }

    #[inline(always)]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn prefix(self, depth: u32) -> Self {
        self & (Self::MAX << (64 - depth))
    }
}

impl Word for u128 {
    #[inline(always)]
    fn bit(self, depth: u32) -> usize {
        (self >> (127 - depth) & 1) as usize
    }

    #[inline(always)]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn prefix(self, depth: u32) -> Self {
        self & (Self::MAX << (128 - depth))
    }
}

/// A place where values differ, or end.
#[derive(Debug)]
struct Node<W> {
    /// Leading bits of all values below.
    value: W,
    /// How many.
    depth: u32,
    children: [u32; 2],
    /// Groups that can still match when it is known that the value passes here (and not beyond).
    through: Row,
    /// Those of them that can match when the value passes no child.
    here: Row,
}

/// The trie of one field.
#[derive(Debug)]
pub(super) struct Trie<W> {
    nodes: Vec<Node<W>>,
    /// Groups whose value ends at a node, while it is built.
    own: Vec<(u32, usize)>,
}

impl<W: Word> Trie<W> {
    /// A trie without values; `zero` is any word.
    pub(super) fn new(zero: W, nothing: Row) -> Self {
        let root =
            Node { value: zero, depth: 0, children: [NONE; 2], through: nothing, here: nothing };
        Self { nodes: vec![root], own: Vec::new() }
    }

    /// Adds the first `len` bits, at least one, of a value that `group` wants.
    pub(super) fn insert(&mut self, value: W, len: u32, group: usize) {
        let mut at = 0_usize;
        // Ends: each turn goes to a deeper node.
        let end = loop {
            let side = value.bit(self.nodes[at].depth);
            let child = self.nodes[at].children[side];
            if child == NONE {
                let leaf = self.add(value, len);
                self.nodes[at].children[side] = leaf;
                break leaf;
            }
            let (below, depth) =
                (self.nodes[child as usize].value, self.nodes[child as usize].depth);
            let common = value.common(below).min(depth).min(len);
            if common < depth {
                let middle = self.add(value, common);
                self.nodes[at].children[side] = middle;
                self.nodes[middle as usize].children[below.bit(common)] = child;
                if common == len {
                    break middle;
                }
                let leaf = self.add(value, len);
                self.nodes[middle as usize].children[value.bit(common)] = leaf;
                break leaf;
            }
            if depth == len {
                break child;
            }
            at = child as usize;
        };
        if self.own.last() != Some(&(end, group)) {
            self.own.push((end, group));
        }
    }

    fn add(&mut self, value: W, depth: u32) -> u32 {
        let value = value.prefix(depth);
        let nothing = self.nodes[0].here;
        self.nodes.push(Node {
            value,
            depth,
            children: [NONE; 2],
            through: nothing,
            here: nothing,
        });
        u32::try_from(self.nodes.len() - 1).expect("at most two nodes for each rule")
    }

    /// Works out the sets, once all values are in; `others` do not care for the field.
    pub(super) fn finish(&mut self, others: &[u64], sets: &mut Sets) {
        self.own.sort_unstable();
        self.settle(0, others, sets);
        self.own = Vec::new();
    }

    /// Sets of a node and below; returns the groups with values there. The depth is at most 128.
    fn settle(&mut self, node: u32, above: &[u64], sets: &mut Sets) -> Box<[u64]> {
        let mut below = sets.empty();
        let first = self.own.partition_point(|(owner, _)| *owner < node);
        let own = self.own[first..].iter().take_while(|(owner, _)| *owner == node);
        own.for_each(|(_, group)| add(&mut below, *group));
        let mut here: Box<[u64]> = above.into();
        unite(&mut here, &below);
        for child in self.nodes[node as usize].children {
            if child != NONE {
                let more = self.settle(child, &here, sets);
                unite(&mut below, &more);
            }
        }
        let mut through: Box<[u64]> = above.into();
        unite(&mut through, &below);
        self.nodes[node as usize].through = sets.intern(&through);
        self.nodes[node as usize].here = sets.intern(&here);
        below
    }

    /// How many leading bits tell a value from all others that are wanted.
    pub(super) fn distinction(&self, value: W) -> u32 {
        let mut node = &self.nodes[0];
        let mut depth = 0;
        // Ends: each turn goes to a deeper node.
        while node.children != [NONE; 2] {
            let side = value.bit(node.depth);
            let Some(child) = self.nodes.get(node.children[side] as usize) else {
                return node.depth + 1;
            };
            if node.children[1 - side] != NONE {
                depth = node.depth + 1;
            }
            let common = value.common(child.value);
            if common < child.depth {
                return common + 1;
            }
            node = child;
        }
        depth
    }

    /// Calls `level` with numbers of leading bits, growing, and the groups that can match when so
    /// many bits of `value` are known; only where that makes a difference.
    pub(super) fn walk(&self, value: W, mut level: impl FnMut(u32, Row)) {
        let mut node = &self.nodes[0];
        let mut last = node.through;
        let mut tell = |depth, row| {
            if row != last {
                level(depth, row);
                last = row;
            }
        };
        // Ends: each turn goes to a deeper node.
        while node.children != [NONE; 2] {
            let side = value.bit(node.depth);
            let [child, other] = [node.children[side], node.children[1 - side]];
            let Some(child) = self.nodes.get(child as usize) else {
                return tell(node.depth + 1, node.here);
            };
            if other != NONE {
                tell(node.depth + 1, child.through);
            }
            let common = value.common(child.value);
            if common < child.depth {
                return tell(common + 1, node.here);
            }
            node = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::sample::Random;

    /// Values of so many leading bits, by group.
    fn build(values: &[(u128, u32, usize)], groups: usize) -> (Trie<u128>, Sets) {
        let mut sets = Sets::new(groups, 1);
        let nothing = sets.empty();
        let mut trie = Trie::new(0, sets.intern(&nothing));
        for (value, len, group) in values {
            trie.insert(*value, *len, *group);
        }
        trie.finish(&nothing, &mut sets);
        (trie, sets)
    }

    #[test]
    fn a_walk_tells_the_fewest_bits_that_exclude_each_group() {
        let mut random = Random::new(5);
        for _ in 0..500 {
            let mut value = || (random.below(256) as u128) << 120 | (random.below(4) as u128) << 60;
            let pool: Vec<u128> = (0..6).map(|_| value()).collect();
            let mut values = Vec::new();
            for group in 0..70 {
                for _ in 0..1 + random.below(3) {
                    let len = 1 + u32::try_from(random.below(80)).expect("small");
                    values.push((random.pick(&pool), len, group));
                }
            }
            let (trie, sets) = build(&values, 70);
            let packet = random.pick(&pool) ^ (1 << random.below(128));
            let mut excluded = [0; 70];
            trie.walk(packet, |depth, row| {
                let newly = (0..70).filter(|group| !sets.has(row, *group));
                let fresh: Vec<usize> = newly.filter(|group| excluded[*group] == 0).collect();
                fresh.into_iter().for_each(|group| excluded[group] = depth);
            });
            for (group, excluded) in excluded.iter().enumerate() {
                let own = values.iter().filter(|(.., owner)| *owner == group);
                let needed = own.map(|(value, len, _)| needed(*value, *len, packet));
                let needed = needed.max().expect("each group has a value");
                let right = if needed == u32::MAX { 0 } else { needed };
                assert_eq!(*excluded, right, "group {group}");
            }
        }
    }

    /// Leading bits that tell a packet's value from one of `len` bits; all there are for none.
    fn needed(value: u128, len: u32, packet: u128) -> u32 {
        let common = (value ^ packet).leading_zeros();
        if common < len { common + 1 } else { u32::MAX }
    }
}

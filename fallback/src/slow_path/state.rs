//! A packet's key on its way through the tables, and where each of its bits came from.

use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, Line};

/// Where the bits of a tag field come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// A tag field of the received packet.
    Received(Field),
    /// A pushed tag, or what lies behind the tags the parser reads: known without the packet.
    Constant,
}

/// The key as the next table sees it.
///
/// Each bit is either *written* (by the pipeline: known whatever the packet) or comes from a bit of
/// the received key: the same bit, but for tags (shifted by pushes and pops) and TTL (decremented).
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Values now.
    pub(super) key: Key,
    /// Metadata now; a function of the path, never of the packet.
    pub(super) metadata: u64,
    written: Key,
    tags: [Tag; 2],
    /// Decrements of the received TTL.
    decrements: u8,
    /// Nothing was changed: each bit is that of the received key.
    is_as_received: bool,
    /// Tags were pushed or popped.
    are_tags_moved: bool,
}

impl State {
    /// The state of a packet just received.
    pub(super) const fn new(key: Key) -> Self {
        Self {
            key,
            metadata: 0,
            written: Key::ZERO,
            tags: [Tag::Received(Field::VlanTci), Tag::Received(Field::InnerVlanTci)],
            decrements: 0,
            is_as_received: true,
            are_tags_moved: false,
        }
    }

    /// Whether a field is wholly written.
    pub(super) fn is_written(&self, field: Field) -> bool {
        self.written.get(field) == field.full_mask()
    }

    /// Decrements of the received TTL so far.
    pub(super) const fn decrements(&self) -> u8 {
        self.decrements
    }

    /// Overwrites bits of a field.
    pub(super) fn set(&mut self, field: Field, value: u128, mask: u128) {
        self.is_as_received = false;
        let kept = self.key.get(field) & !mask;
        self.key.set(field, kept | (value & mask));
        self.written.or_field(field, mask);
    }

    /// Decrements the TTL, which must be above 0.
    pub(super) fn decrement_ttl(&mut self) {
        self.is_as_received = false;
        self.key.set(Field::IpTtl, self.key.get(Field::IpTtl) - 1);
        if !self.is_written(Field::IpTtl) {
            self.decrements += 1;
        }
    }

    /// Puts a tag with that TCI (present bit included) in front; the second tag falls out of sight.
    pub(super) fn push_tag(&mut self, tci: u16) {
        for key in [&mut self.key, &mut self.written] {
            key.set(Field::InnerVlanTci, key.get(Field::VlanTci));
        }
        self.are_tags_moved = true;
        self.tags = [Tag::Constant, self.tags[0]];
        self.set(Field::VlanTci, u128::from(tci), 0xffff);
        self.set(Field::InnerVlanTpid, 0, 0xffff);
    }

    /// Takes the outer tag off; the second becomes the outer.
    pub(super) fn pop_tag(&mut self) {
        for key in [&mut self.key, &mut self.written] {
            key.set(Field::VlanTci, key.get(Field::InnerVlanTci));
        }
        self.are_tags_moved = true;
        self.tags = [self.tags[1], Tag::Constant];
        self.set(Field::InnerVlanTci, 0, 0xffff);
        self.set(Field::InnerVlanTpid, 0, 0xffff);
    }

    /// The bits of the present key that are known for all packets that agree with the received one
    /// on the bits `mask`.
    pub(super) fn known(&self, mask: &Key) -> Key {
        let mut known = *mask;
        if self.is_as_received {
            return known;
        }
        if self.decrements > 0 && mask.get(Field::IpTtl) != 0xff {
            known.set(Field::IpTtl, 0);
        }
        if self.are_tags_moved {
            self.known_tags(mask, &mut known);
        }
        known.or(&self.written)
    }

    fn known_tags(&self, mask: &Key, known: &mut Key) {
        for (tag, field) in self.tags.iter().zip([Field::VlanTci, Field::InnerVlanTci]) {
            let bits = match tag {
                Tag::Received(origin) => mask.get(*origin),
                Tag::Constant => 0xffff,
            };
            known.set(field, bits);
        }
    }

    /// Adds to `mask` what received packets must agree on with the one at hand for the bits `bits`
    /// of the present key to be what they are.
    pub(super) fn constrain(&self, bits: &Key, mask: &mut Key) {
        if self.is_as_received {
            *mask = mask.or(bits);
            return;
        }
        let mut needed = Key {
            head: without(&bits.head, &self.written.head),
            tail: without(&bits.tail, &self.written.tail),
        };
        if self.decrements > 0 && needed.get(Field::IpTtl) != 0 {
            needed.set(Field::IpTtl, 0xff);
        }
        if self.are_tags_moved {
            self.needed_tags(&mut needed);
        }
        *mask = mask.or(&needed);
    }

    fn needed_tags(&self, needed: &mut Key) {
        let tags = [Field::VlanTci, Field::InnerVlanTci].map(|field| {
            let bits = needed.get(field);
            needed.set(field, 0);
            bits
        });
        for (tag, bits) in self.tags.iter().zip(tags) {
            if let Tag::Received(origin) = tag {
                needed.or_field(*origin, bits);
            }
        }
    }

    /// As [`Self::constrain`], for bits of one field.
    pub(super) fn constrain_field(&self, field: Field, bits: u128, mask: &mut Key) {
        let is_tag = matches!(field, Field::VlanTci | Field::InnerVlanTci);
        if self.are_tags_moved && is_tag {
            return self.constrain(&Key::ZERO.with(field, bits), mask);
        }
        let mut needed = bits;
        if !self.is_as_received {
            needed &= !self.written.get(field);
            if field == Field::IpTtl && self.decrements > 0 && needed != 0 {
                needed = 0xff;
            }
        }
        if needed != 0 {
            mask.or_field(field, needed);
        }
    }
}

/// The bits of `line` that are not in `other`.
fn without(line: &Line, other: &Line) -> Line {
    let mut rest = *line;
    for (byte, other) in rest.0.iter_mut().zip(&other.0) {
        *byte &= !other;
    }
    rest
}

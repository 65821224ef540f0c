//! Shapes of packets: where the headers are, and which. What edits a packet is made for its shape.

use crate::quick::Quick;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use twinpath_flow::parse::Layout;

/// All of a layout but its end, and what is taken off in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    places: u64,
    kinds: u64,
}

/// Distance of the numbers of packets that got their Ethernet header from a tunnel.
const OPENED: u16 = 4;
const _: () = assert!(Quick::ALL.len() == OPENED as usize);

/// A shape, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShapeNumber(u16);

impl ShapeNumber {
    /// Of packets whose shape got no number: there are too many.
    pub(crate) const UNKNOWN: Self = Self(0);
    /// Of no packet.
    pub(crate) const NEVER: Self = Self(u16::MAX);

    /// The shape of frames read quickly; of those that got their Ethernet header from a tunnel.
    #[inline(always)]
    pub(crate) const fn of_quick(quick: Quick, is_opened: bool) -> Self {
        Self(1 + quick as u16 + if is_opened { OPENED } else { 0 })
    }
}

/// The numbers of the shapes seen so far.
#[derive(Debug)]
pub(crate) struct Shapes {
    numbers: HashMap<Shape, u16, FixedState>,
}

impl Default for Shapes {
    fn default() -> Self {
        let numbers = Self::quick().map(|layout| Shape::of(&layout)).zip(1..);
        Self { numbers: numbers.collect() }
    }
}

impl Shapes {
    /// Layouts of the frames that are read quickly, by number.
    fn quick() -> impl Iterator<Item = Layout> {
        [0, 0x0800].into_iter().flat_map(|prepend| {
            Quick::ALL.into_iter().map(move |quick| Layout { prepend, ..quick.layout(&[0; 64]) })
        })
    }

    /// The number of a layout's shape. Numbers are never used again; when all are, shapes that
    /// are new stay unknown.
    pub(crate) fn number(&mut self, layout: &Layout) -> ShapeNumber {
        let next = u16::try_from(self.numbers.len() + 1).ok().filter(|next| *next < u16::MAX);
        let shape = Shape::of(layout);
        if let Some(number) = self.numbers.get(&shape) {
            return ShapeNumber(*number);
        }
        let Some(next) = next else { return ShapeNumber::UNKNOWN };
        self.numbers.insert(shape, next);
        ShapeNumber(next)
    }
}

impl Shape {
    fn of(layout: &Layout) -> Self {
        let Layout { prepend, tags, network, transport, l3, l4, checksum, .. } = *layout;
        let places = u64::from(prepend)
            | u64::from(l3) << 16
            | u64::from(l4) << 32
            | u64::from(checksum) << 48;
        let kinds = u64::from(tags) | (network as u64) << 8 | (transport as u64) << 16;
        Self { places, kinds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_quickly_have_the_numbers_of_their_layouts() {
        let mut shapes = Shapes::default();
        for (at, layout) in Shapes::quick().enumerate() {
            let quick = Quick::ALL[at % Quick::ALL.len()];
            let number = ShapeNumber::of_quick(quick, at >= Quick::ALL.len());
            assert_eq!(shapes.number(&layout), number);
            assert_eq!(shapes.number(&Layout { strip: 36, end: 99, ..layout }), number);
        }
    }

    #[test]
    fn shapes_beyond_the_numbers_are_unknown() {
        let mut shapes = Shapes::default();
        let layout = |l4| Layout { l4, ..Layout::default() };
        let first = shapes.number(&layout(0));
        for l4 in 1..u16::MAX {
            let number = shapes.number(&layout(l4));
            assert!(number != first && number != ShapeNumber::NEVER);
        }
        assert_eq!(shapes.number(&layout(u16::MAX)), ShapeNumber::UNKNOWN);
        assert_eq!(shapes.number(&layout(0)), first);
    }
}

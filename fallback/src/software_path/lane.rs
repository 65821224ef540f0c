//! What is known about the packets of a burst on their way through it.

use crate::compiled::Progress;
use crate::outbox::DropCause;
use crate::packet::Packet;
use crate::quick::Quick;
use crate::quick_tunnel::Inner;
use crate::shape::{ShapeNumber, Shapes};
use crate::store::Serves;
use twinpath_flow::key::{Key, Line};
use twinpath_flow::parse::{Layout, Parsed, Standing};
use twinpath_flow::time::Time;

/// Packets looked up together.
pub(super) const BURST: usize = 32;

/// Slot number that no flow has.
pub(super) const NONE: u32 = u32::MAX;

/// Where the TTL is in the first line of a key.
const TTL: usize = 8;

/// A set of packets of a burst, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u32);

impl Set {
    pub(super) const EMPTY: Self = Self(0);

    #[inline(always)]
    pub(super) const fn add(&mut self, at: usize) {
        self.0 |= 1 << (at % BURST);
    }

    #[inline(always)]
    pub(super) const fn has(self, at: usize) -> bool {
        self.0 >> (at % BURST) & 1 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// In order.
impl Iterator for Set {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let at = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (at < BURST).then_some(at)
    }
}

/// What is known about the packets of a burst, each kind of fact by itself; kept between bursts for
/// its memory.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Lane {
    /// Keys of those that were read; first, so that each has cache lines of its own.
    pub(super) keys: [Key; BURST],
    /// When the burst is decided.
    pub(super) now: Time,
    /// Hashes of the keys.
    pub(super) hashes: [u64; BURST],
    /// Slots of their flows, or [`NONE`].
    pub(super) flows: [u32; BURST],
    pub(super) shapes: [ShapeNumber; BURST],
    /// Generations that decide them.
    pub(super) serves: [Serves; BURST],
    /// What they are, if read quickly.
    pub(super) inners: [Inner; BURST],
    /// Layouts of those in `has_layout`.
    layouts: [Layout; BURST],
    /// Why they are dropped unread: of those in `refused`.
    pub(super) causes: [DropCause; BURST],
    /// Who may handle them: of those that were not read quickly.
    standings: [Standing; BURST],
    /// How far the programs of those in `unsent` got; `None` when not begun.
    pub(super) progresses: [Option<Progress>; BURST],
    /// Those to be looked up.
    pub(super) wanted: Set,
    pub(super) refused: Set,
    /// Those whose layout is here, rather than what [`Inner`] says.
    has_layout: Set,
    /// Those not read quickly.
    whole: Set,
    /// Those whose keys have a second line that may be other than zero.
    pub(super) has_tail: Set,
    /// Those in a tunnel.
    pub(super) in_tunnel: Set,
    /// Those that are not done with and to be sent.
    pub(super) unsent: Set,
    /// Those to be looked up in the tuple space.
    pub(super) missed: Vec<u8>,
    pub(super) numbers: Shapes,
    /// Lookups since the masks were ranked.
    pub(super) lookups: u32,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            keys: [Key::ZERO; BURST],
            now: Time(0),
            hashes: [0; BURST],
            flows: [NONE; BURST],
            shapes: [ShapeNumber::UNKNOWN; BURST],
            serves: [Serves::EVEN; BURST],
            inners: [Inner::bare(Quick::Udp); BURST],
            layouts: [Layout::default(); BURST],
            causes: [DropCause::Malformed; BURST],
            standings: [Standing::Plain; BURST],
            progresses: [None; BURST],
            wanted: Set::EMPTY,
            refused: Set::EMPTY,
            has_layout: Set::EMPTY,
            whole: Set::EMPTY,
            has_tail: Set::EMPTY,
            in_tunnel: Set::EMPTY,
            unsent: Set::EMPTY,
            missed: Vec::with_capacity(BURST),
            numbers: Shapes::default(),
            lookups: 0,
        }
    }
}

impl Lane {
    /// Forgets the burst before; the generation of the next is one that `serves` marks.
    #[inline(always)]
    pub(super) fn begin(&mut self, now: Time, serves: Serves) {
        self.now = now;
        for at in std::mem::take(&mut self.has_tail) {
            self.keys[at].tail = Line::ZERO;
        }
        self.flows = [NONE; BURST];
        self.serves = [serves; BURST];
        self.wanted = Set::EMPTY;
        self.refused = Set::EMPTY;
        self.has_layout = Set::EMPTY;
        self.whole = Set::EMPTY;
        self.in_tunnel = Set::EMPTY;
    }

    /// A packet was read quickly; its key is in place.
    #[inline(always)]
    pub(super) fn read_quickly(&mut self, at: usize, quick: Quick) {
        self.inners[at] = Inner::bare(quick);
        self.shapes[at] = ShapeNumber::of_quick(quick, false);
        self.wanted.add(at);
    }

    /// And so was one in a tunnel.
    #[inline(always)]
    pub(super) fn read_tunnel(&mut self, at: usize, inner: Inner) {
        self.inners[at] = inner;
        self.shapes[at] = ShapeNumber::of_quick(inner.quick, inner.is_opened);
        self.wanted.add(at);
        self.in_tunnel.add(at);
        self.has_tail.add(at);
    }

    /// A packet was read by the parser.
    pub(super) fn read_whole(&mut self, at: usize, parsed: &Parsed) {
        self.keys[at] = parsed.key;
        self.layouts[at] = parsed.layout;
        self.standings[at] = parsed.standing;
        self.shapes[at] = self.numbers.number(&parsed.layout);
        self.has_layout.add(at);
        self.whole.add(at);
        if !parsed.key.tail.is_zero() {
            self.has_tail.add(at);
        }
        if parsed.layout.strip != 0 {
            self.in_tunnel.add(at);
        }
        if parsed.standing == Standing::Plain {
            self.wanted.add(at);
        }
    }

    #[inline(always)]
    pub(super) fn ttl(&self, at: usize) -> u8 {
        self.keys[at].head.0[TTL]
    }

    /// Bytes of outer headers of a packet.
    #[inline(always)]
    pub(super) fn strip(&self, at: usize) -> u16 {
        if !self.in_tunnel.has(at) {
            return 0;
        }
        if self.whole.has(at) { self.layouts[at].strip } else { self.inners[at].strip }
    }

    /// The layout of a packet, not yet edited.
    pub(super) fn layout(&self, at: usize, packet: &Packet) -> Layout {
        if self.has_layout.has(at) {
            self.layouts[at]
        } else {
            self.inners[at].layout(packet.frame())
        }
    }

    /// Keeps the layout of a packet that is to be edited and may not be done with then.
    #[inline(never)]
    pub(super) fn keep_layout(&mut self, at: usize, packet: &Packet) -> Layout {
        self.layouts[at] = self.layout(at, packet);
        self.has_layout.add(at);
        self.layouts[at]
    }

    /// All that was read of a packet that a rewrite has got so far with.
    pub(super) fn parsed(&self, at: usize, progress: Option<Progress>, packet: &Packet) -> Parsed {
        let layout = match progress {
            Some(Progress::Bare) if !self.has_layout.has(at) => {
                self.inners[at].layout_inside(packet.frame())
            }
            _ => self.layout(at, packet),
        };
        Parsed { key: self.keys[at], layout, standing: self.standing(at) }
    }

    /// Who may handle a packet that was read.
    pub(super) fn standing(&self, at: usize) -> Standing {
        if self.whole.has(at) { self.standings[at] } else { Standing::Plain }
    }
}

//! Frames in memory, given out again and again, each copied into a buffer of its own.

use memmap2::{Advice, MmapMut};
use std::io;
use twinpath_fallback::prefetch::prefetch;
use twinpath_fallback::{Packet, PacketPool};
use twinpath_flow::port::PortNo;

/// A cache line.
type Line = [u8; 64];

/// How frames lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layout {
    /// As DPDK's pcap driver keeps them: each in a buffer of 2,432 bytes behind a line of metadata
    /// with its length, so that two lines of memory are touched for each.
    Dpdk,
    /// One behind the other, lengths apart. No driver has it so good.
    Compact,
}

/// Lines of a DPDK buffer, and where in it the frame begins (metadata of 128 bytes, headroom of 128).
const DPDK_LINES: usize = 38;
const DPDK_FRAME: usize = 4;

/// Frames ahead of the one copied that memory is asked for.
const AHEAD: usize = 32;

/// Most lines of a frame that are asked for ahead.
const FEW_LINES: usize = 4;

/// The source.
pub(super) struct Source {
    /// Huge pages where the kernel makes some, as the peers' memory is.
    memory: MmapMut,
    /// First line of each frame.
    places: Places,
    count: usize,
    next: usize,
    port: PortNo,
}

enum Places {
    /// Every so many lines; the length is in the line before.
    Stride,
    /// First line and length.
    Listed(Vec<(u32, u32)>),
}

impl Source {
    /// A source of these frames.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(super) fn new(frames: &[Vec<u8>], layout: Layout, port: PortNo) -> io::Result<Self> {
        let span = |frame: &Vec<u8>| match layout {
            Layout::Dpdk => DPDK_LINES,
            Layout::Compact => frame.len().div_ceil(64),
        };
        let mut memory = MmapMut::map_anon(frames.iter().map(span).sum::<usize>() * 64)?;
        // A kernel without huge pages is only slower.
        let _ = memory.advise(Advice::HugePage);
        let mut rest = memory.as_chunks_mut::<64>().0;
        let (mut listed, mut start) = (Vec::new(), 0);
        for frame in frames {
            let (own, others) = rest.split_at_mut(span(frame));
            rest = others;
            let own = match layout {
                Layout::Dpdk => {
                    let length = u64::try_from(frame.len()).expect("a length");
                    own[0][..8].copy_from_slice(&length.to_le_bytes());
                    &mut own[DPDK_FRAME..]
                }
                Layout::Compact => {
                    let place = (u32::try_from(start), u32::try_from(frame.len()));
                    listed.push((place.0.expect("few lines"), place.1.expect("a length")));
                    own
                }
            };
            own.as_flattened_mut()[..frame.len()].copy_from_slice(frame);
            start += span(frame);
        }
        let places = match layout {
            Layout::Dpdk => Places::Stride,
            Layout::Compact => Places::Listed(listed),
        };
        Ok(Self { memory, places, count: frames.len(), next: 0, port })
    }

    /// Longest frame of the DPDK layout.
    pub(super) const LONGEST: usize = (DPDK_LINES - DPDK_FRAME) * 64;

    #[inline(always)]
    fn place(places: &Places, lines: &[Line], number: usize) -> (usize, usize) {
        match places {
            Places::Stride => {
                let start = number * DPDK_LINES;
                let length = lines[start].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                (start + DPDK_FRAME, usize::try_from(length.unwrap_or(0)).unwrap_or(0))
            }
            Places::Listed(places) => {
                let (first, length) = places[number];
                (first as usize, length as usize)
            }
        }
    }

    /// Puts the next `count` frames into packets of the pool.
    #[inline(always)]
    pub(super) fn give(&mut self, count: usize, pool: &mut PacketPool, into: &mut Vec<Packet>) {
        let lines = self.memory.as_chunks::<64>().0;
        let filled = into.len();
        // Moved first and changed then: a move would wait for the short stores.
        pool.take_many(count, into);
        for packet in &mut into[filled..] {
            if matches!(self.places, Places::Stride) {
                let ahead = (self.next + AHEAD) * DPDK_LINES;
                if let Some(line) = lines.get(ahead + DPDK_FRAME) {
                    prefetch(line);
                    prefetch(&lines[ahead]);
                }
            }
            let (first, length) = Self::place(&self.places, lines, self.next);
            let room = packet.receive_buffer().as_chunks_mut::<64>().0;
            // Whole lines: what is behind a frame is nobody's.
            let count = length.div_ceil(64);
            let (from, to) = (&lines[first..first + count], &mut room[..count]);
            if count <= FEW_LINES {
                // The next frame is likely as long.
                let ahead = (self.next + AHEAD) * DPDK_LINES + DPDK_FRAME;
                for (line, (from, to)) in from.iter().zip(to).enumerate() {
                    *to = *from;
                    lines.get(ahead + line).filter(|_| line > 0).into_iter().for_each(prefetch);
                }
            } else {
                to.copy_from_slice(from);
            }
            packet.set_received(length);
            packet.port = self.port;
            self.next += 1;
            if self.next == self.count {
                self.next = 0;
            }
        }
    }
}

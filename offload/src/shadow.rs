//! Verification: samples of what the card forwarded are run through the executable specification.
//!
//! A card that can mirror gives the frame as received, the frames it sent of it, the entry, and what
//! the entry has counted. [`Assembly`] puts the parts of a sample together; `verify` judges them.

use std::fmt;
use twinpath_flow::card::{EntryId, Generation, MirrorOrder, MirrorPart, Mirrored};
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::reference::process;

/// Frames of one sample at most; a longer one is discarded.
const PARTS_MAX: usize = 80;

/// What the card made of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its number: each sample's is one more than that of the sample before.
    pub number: u32,
    /// The entry that decided it.
    pub entry: EntryId,
    /// Physical port it came in on.
    pub port: PortNo,
    /// Generation that decided it.
    pub generation: Generation,
    /// The frame as received.
    pub received: Vec<u8>,
    /// Frames sent, in order.
    pub sent: Vec<(PortNo, Vec<u8>)>,
    /// Why it was mirrored.
    pub order: MirrorOrder,
    /// What the entry has counted, this frame included.
    pub counts: Counts,
}

/// How the card and the specification differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// In the frames sent.
    Frames {
        /// What the specification sends.
        expected: Vec<(PortNo, Vec<u8>)>,
    },
    /// The entry counts what it should not, or does not count what it should.
    Counts {
        /// What it should have counted.
        expected: Counts,
        /// What it says.
        got: Counts,
    },
    /// The packet does not match the flow of the entry that decided it.
    Match,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames { expected } => {
                write!(f, "the rules send ")?;
                ports(f, expected)
            }
            Self::Counts { expected, got } => write!(
                f,
                "its entry counts {} packets and {} bytes, {} and {} are right",
                got.packets, got.bytes, expected.packets, expected.bytes
            ),
            Self::Match => f.write_str("its entry is of another flow"),
        }
    }
}

fn ports(f: &mut fmt::Formatter<'_>, frames: &[(PortNo, Vec<u8>)]) -> fmt::Result {
    if frames.is_empty() {
        return f.write_str("nothing");
    }
    for (i, (port, frame)) in frames.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{} bytes out of port {}", frame.len(), port.0)?;
    }
    Ok(())
}

/// A sample that diverges, with what is needed to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What the card did.
    pub sample: Sample,
    /// How that is wrong.
    pub divergence: Divergence,
}

/// What verification did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowTotals {
    /// Samples judged.
    pub judged: u64,
    /// Samples not judged: too many at once, or decided by rules that are no longer in force.
    pub skipped: u64,
    /// Samples that wait to be judged.
    pub waiting: u64,
    /// Samples that diverged.
    pub diverged: u64,
    /// Flows taken out of the card for it.
    pub quarantined: u64,
}

/// Puts the parts of one queue's samples together.
#[derive(Debug, Default)]
pub struct Assembly {
    sample: u32,
    sent: Vec<(PortNo, Vec<u8>)>,
}

impl Assembly {
    /// Takes a mirrored frame; the sample when it is complete.
    ///
    /// `from` is what came with it: entry, port, generation.
    pub fn take(
        &mut self,
        mirrored: Mirrored,
        from: (EntryId, PortNo, Generation),
        frame: Vec<u8>,
    ) -> Option<Sample> {
        if self.sample != mirrored.sample {
            self.sent.clear();
            self.sample = mirrored.sample;
        }
        match mirrored.part {
            MirrorPart::Sent(port) => {
                if self.sent.len() < PARTS_MAX {
                    self.sent.push((port, frame));
                }
                None
            }
            MirrorPart::Received { sent, order, counts } => {
                let frames = std::mem::take(&mut self.sent);
                let (entry, port, generation) = from;
                (frames.len() == usize::from(sent)).then_some(Sample {
                    number: mirrored.sample,
                    entry,
                    port,
                    generation,
                    received: frame,
                    sent: frames,
                    order,
                    counts,
                })
            }
        }
    }
}

/// Compares what the card sent with what the specification sends.
#[must_use]
pub fn judge_frames(sample: &Sample, pipeline: &Pipeline) -> Option<Divergence> {
    let expected = process(pipeline, &sample.received, sample.port).outputs;
    (!same_frames(&expected, &sample.sent)).then_some(Divergence::Frames { expected })
}

/// Whether each port sends the same frames in the same order.
fn same_frames(one: &[(PortNo, Vec<u8>)], other: &[(PortNo, Vec<u8>)]) -> bool {
    let of = |frames: &[(PortNo, Vec<u8>)]| {
        let mut sorted = frames.to_vec();
        // Stable: the order at each port stays.
        sorted.sort_by_key(|(port, _)| *port);
        sorted
    };
    one.len() == other.len() && (one == other || of(one) == of(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: (EntryId, PortNo, Generation) = (EntryId(7), PortNo(1), Generation(0));

    fn sent(sample: u32, port: u16) -> Mirrored {
        Mirrored { sample, part: MirrorPart::Sent(PortNo(port)) }
    }

    fn end(sample: u32, sent: u8) -> Mirrored {
        let counts = Counts { packets: 1, bytes: 60 };
        let part = MirrorPart::Received { sent, order: MirrorOrder::First, counts };
        Mirrored { sample, part }
    }

    #[test]
    fn parts_become_a_sample_and_unfinished_ones_are_discarded() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(sent(1, 2), FROM, vec![1]), None);
        let sample = assembly.take(end(1, 1), FROM, vec![9]).unwrap();
        assert_eq!((sample.sent, sample.received), (vec![(PortNo(2), vec![1])], vec![9]));
        assert_eq!(assembly.take(sent(2, 2), FROM, vec![1]), None);
        assert!(assembly.take(end(3, 0), FROM, vec![9]).is_some(), "a drop");
        assert_eq!(assembly.take(end(4, 2), FROM, vec![9]), None, "two parts are missing");
    }

    #[test]
    fn the_order_of_frames_counts_at_each_port_only() {
        let frame = |port, byte| (PortNo(port), vec![byte]);
        assert!(same_frames(&[frame(2, 1), frame(1, 2)], &[frame(1, 2), frame(2, 1)]));
        assert!(!same_frames(&[frame(1, 1), frame(1, 2)], &[frame(1, 2), frame(1, 1)]));
        assert!(!same_frames(&[frame(1, 1)], &[]));
    }
}

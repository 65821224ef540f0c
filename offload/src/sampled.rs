//! Which samples came lately, so that what an entry counts can be compared with the sample before.
//!
//! Frames of one entry may come by several queues, and samples of one queue before older ones of
//! another. The card numbers all samples in one row, so two of them are known to be neighbours when all
//! between them are there and none of those is of their entry.

use crate::shadow::Sample;
use twinpath_flow::card::{EntryId, MirrorOrder};
use twinpath_flow::counters::Counts;

/// Samples remembered; neighbours further apart are not compared.
const KEPT: u32 = 256;

/// The latest samples.
#[derive(Debug)]
pub(crate) struct Sampled {
    /// By number, modulo their count.
    places: Vec<Option<Note>>,
}

/// What is remembered of a sample.
#[derive(Clone, Copy, Debug)]
struct Note {
    number: u32,
    entry: EntryId,
    order: MirrorOrder,
    counts: Counts,
}

impl Sampled {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { places: vec![None; KEPT as usize] }
    }

    /// Forgets all: numbers begin anew.
    pub(crate) fn clear(&mut self) {
        self.places.fill(None);
    }

    /// Remembers a sample.
    pub(crate) fn note(&mut self, sample: &Sample) {
        let Sample { number, entry, order, counts, .. } = *sample;
        self.places[(number % KEPT) as usize] = Some(Note { number, entry, order, counts });
    }

    /// What the entry of a successor had counted before it; `None` while that is not known.
    pub(crate) fn before(&self, sample: &Sample) -> Option<Counts> {
        for back in 1..KEPT {
            let number = sample.number.wrapping_sub(back);
            let note =
                self.places[(number % KEPT) as usize].filter(|note| note.number == number)?;
            if note.entry == sample.entry {
                return (note.order != MirrorOrder::Successor).then_some(note.counts);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::card::Generation;
    use twinpath_flow::port::PortNo;

    fn sample(number: u32, entry: u32, order: MirrorOrder, packets: u64) -> Sample {
        Sample {
            number,
            entry: EntryId(entry),
            port: PortNo(1),
            generation: Generation(0),
            received: vec![0; 60],
            sent: Vec::new(),
            order,
            counts: Counts { packets, bytes: 60 * packets },
        }
    }

    #[test]
    fn samples_of_one_entry_are_compared_when_none_between_them_is_missing() {
        use MirrorOrder::{Sampled as One, Successor};
        let mut sampled = Sampled::new();
        let fourth = sample(4, 7, Successor, 12);
        sampled.note(&sample(1, 7, One, 9));
        sampled.note(&fourth);
        assert_eq!(sampled.before(&fourth), None, "2 and 3 may be of entry 7");
        sampled.note(&sample(2, 7, Successor, 10));
        assert_eq!(sampled.before(&fourth), None);
        sampled.note(&sample(3, 7, One, 11));
        assert_eq!(sampled.before(&fourth).map(|counts| counts.packets), Some(11));
        let fifth = sample(5, 8, Successor, 2);
        assert_eq!(sampled.before(&fifth), None, "nothing of entry 8 came");
        let far = sample(3 + KEPT, 7, Successor, 12);
        assert_eq!(sampled.before(&far), None);
        sampled.clear();
        assert_eq!(sampled.before(&fourth), None);
    }
}

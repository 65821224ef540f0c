//! Hold queues: packets of an entry that wait until the host has sent the older ones
//! (`docs/nic-abi.md` §8.4).

use crate::completions::Source;
use crate::decap::Parsed;
use crate::tables::Location;
use std::collections::{BTreeMap, VecDeque};
use twinpath_abi::register::QUEUES_MAX;

/// A received frame with what the parser found.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) frame: Vec<u8>,
    pub(crate) parsed: Parsed,
    pub(crate) port: u16,
    pub(crate) time: u64,
    pub(crate) generation: u32,
}

/// A RELEASE that waits for transmit queues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) tag: u64,
    pub(crate) source: Source,
    pub(crate) indices: [u32; QUEUES_MAX],
}

/// A hold queue in use.
#[derive(Debug)]
pub(crate) struct Hold {
    /// Place among all holds, in the order of their ADDs.
    pub(crate) order: u64,
    /// Tag of the ADD.
    pub(crate) tag: u64,
    /// Older holds that keep packets which this entry matches too.
    behind: Vec<u64>,
    pub(crate) frames: VecDeque<Arrival>,
    pub(crate) release: Option<Release>,
}

/// All hold queues in use.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    holds: BTreeMap<Location, Hold>,
    /// Entries with a waiting RELEASE, in its order.
    releasing: Vec<Location>,
    /// Holds so far.
    begun: u64,
}

impl Holds {
    pub(crate) fn len(&self) -> usize {
        self.holds.len()
    }

    /// Tag of the ADD of a held entry.
    pub(crate) fn tag(&self, at: Location) -> Option<u64> {
        self.holds.get(&at).map(|hold| hold.tag)
    }

    /// Frames held.
    pub(crate) fn frames(&self) -> usize {
        self.holds.values().map(|hold| hold.frames.len()).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.holds.clear();
        self.releasing.clear();
    }

    pub(crate) fn begin(&mut self, at: Location, tag: u64) {
        self.begun += 1;
        let (order, frames) = (self.begun, VecDeque::new());
        self.holds.insert(at, Hold { order, tag, behind: Vec::new(), frames, release: None });
    }

    /// The oldest of some holds, which keeps a packet that all of them match: the others are behind
    /// it from now on.
    pub(crate) fn first_of(&mut self, holds: &[Location]) -> Option<Location> {
        let order = |at: &Location| self.holds.get(at).map(|hold| (hold.order, *at));
        let (first, at) = holds.iter().filter_map(order).min()?;
        for other in holds.iter().filter(|other| **other != at) {
            if let Some(hold) = self.holds.get_mut(other)
                && !hold.behind.contains(&first)
            {
                hold.behind.push(first);
            }
        }
        Some(at)
    }

    /// A hold that is behind the one of that order.
    pub(crate) fn one_behind(&self, order: u64) -> Option<Location> {
        self.holds.iter().find(|(_, hold)| hold.behind.contains(&order)).map(|(at, _)| *at)
    }

    /// None is behind the hold of that order any more: its packets have left.
    pub(crate) fn pass(&mut self, order: u64) {
        self.holds.values_mut().for_each(|hold| hold.behind.retain(|other| *other != order));
    }

    /// Keeps a packet, or gives it back when the queue is full (or there is none).
    pub(crate) fn keep(&mut self, at: Location, arrival: Arrival, max: usize) -> Option<Arrival> {
        match self.holds.get_mut(&at) {
            Some(hold) if hold.frames.len() < max => {
                hold.frames.push_back(arrival);
                None
            }
            _ => Some(arrival),
        }
    }

    /// Notes a RELEASE; false when the entry is not held or is being released.
    pub(crate) fn release(&mut self, at: Location, release: Release) -> bool {
        match self.holds.get_mut(&at) {
            Some(hold) if hold.release.is_none() => {
                hold.release = Some(release);
                self.releasing.push(at);
                true
            }
            _ => false,
        }
    }

    /// Ends holding and gives the queue out.
    pub(crate) fn end(&mut self, at: Location) -> Option<Hold> {
        self.releasing.retain(|other| *other != at);
        self.holds.remove(&at)
    }

    pub(crate) fn rename(&mut self, from: Location, to: Location) {
        if let Some(hold) = self.holds.remove(&from) {
            self.holds.insert(to, hold);
            for at in self.releasing.iter_mut().filter(|at| **at == from) {
                *at = to;
            }
        }
    }

    /// The first entry whose RELEASE is due: none is before it, and `sent` says whether a queue has
    /// sent up to an index.
    pub(crate) fn due(&self, sent: impl Fn(usize, u32) -> bool) -> Option<Location> {
        self.releasing.iter().copied().find(|at| {
            let hold = self.holds.get(at).filter(|hold| hold.behind.is_empty());
            let release = hold.and_then(|hold| hold.release.as_ref());
            release.is_some_and(|release| {
                release.indices.iter().enumerate().all(|(queue, index)| sent(queue, *index))
            })
        })
    }
}

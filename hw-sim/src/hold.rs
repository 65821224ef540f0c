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
    /// Tag of the ADD.
    pub(crate) tag: u64,
    pub(crate) frames: VecDeque<Arrival>,
    pub(crate) release: Option<Release>,
}

/// All hold queues in use.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    holds: BTreeMap<Location, Hold>,
    /// Entries with a waiting RELEASE, in its order.
    releasing: Vec<Location>,
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
        self.holds.insert(at, Hold { tag, frames: VecDeque::new(), release: None });
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

    /// The first entry whose RELEASE is due: `sent` says whether a queue has sent up to an index.
    pub(crate) fn due(&self, sent: impl Fn(usize, u32) -> bool) -> Option<Location> {
        self.releasing.iter().copied().find(|at| {
            let release = self.holds.get(at).and_then(|hold| hold.release.as_ref());
            release.is_some_and(|release| {
                release.indices.iter().enumerate().all(|(queue, index)| sent(queue, *index))
            })
        })
    }
}

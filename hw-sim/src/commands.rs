//! Commands on their way in: ring and window (`docs/nic-abi.md` §3.4, §3.5, §13).

use crate::completions::Source;
use crate::registers::{load_bytes, load64};
use std::collections::VecDeque;
use twinpath_abi::bus::CardMemory;
use twinpath_abi::command::COMMAND_BYTES;
use twinpath_abi::register::{
    COMMAND_BASE, COMMAND_CONSUMER, COMMAND_PRODUCER, COMMAND_SIZE_LOG2, WINDOW_COMMAND,
    WINDOW_SUBMIT, syndrome,
};

/// A command that was fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched {
    /// When it takes effect.
    pub(crate) due: u64,
    pub(crate) descriptor: [u8; COMMAND_BYTES],
    pub(crate) source: Source,
}

/// When commands take effect (§13).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) now: u64,
    pub(crate) latency: u64,
    pub(crate) interval: u64,
}

/// The command ring, the window, and what was fetched from them.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    ring: Option<Ring>,
    consumer: u32,
    window_seen: u32,
    /// At most a ring and one.
    fetched: VecDeque<Fetched>,
    last_due: Option<u64>,
}

#[derive(Debug)]
struct Ring {
    base: u64,
    size: u32,
}

impl Commands {
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Opens the ring from its registers.
    pub(crate) fn open(&mut self, memory: &impl CardMemory, log2_max: u32) -> Result<(), u32> {
        let size_log2 = memory.load32(COMMAND_SIZE_LOG2.offset);
        let base = load64(memory, COMMAND_BASE.offset);
        let aligned = base.is_multiple_of(COMMAND_BYTES as u64) && base <= u64::MAX / 2;
        if !(4..=log2_max).contains(&size_log2) || !aligned {
            return Err(syndrome::RING);
        }
        self.ring = Some(Ring { base, size: 1 << size_log2 });
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.ring = None;
    }

    /// Commands fetched so far, modulo 2^32.
    pub(crate) fn consumer(&self) -> u32 {
        self.consumer
    }

    /// Fetches what the host gave, while there is `room` for completions; each takes `slower` more
    /// nanoseconds.
    pub(crate) fn fetch(
        &mut self,
        memory: &impl CardMemory,
        room: usize,
        pace: Pace,
        mut slower: impl FnMut() -> u64,
    ) -> Result<(), u32> {
        let submitted = memory.load32(WINDOW_SUBMIT.offset);
        if submitted != self.window_seen {
            self.window_seen = submitted;
            let mut descriptor = [0; COMMAND_BYTES];
            load_bytes(memory, WINDOW_COMMAND, &mut descriptor);
            self.push(descriptor, Source::Window(submitted), pace);
        }
        let Some(Ring { base, size }) = self.ring else {
            return Ok(());
        };
        let producer = memory.load32(COMMAND_PRODUCER.offset);
        if producer.wrapping_sub(self.consumer) > size {
            return Err(syndrome::INDEX);
        }
        if producer == self.consumer {
            return Ok(());
        }
        while self.consumer != producer && self.fetched.len() < room {
            let slot = u64::from(self.consumer & (size - 1));
            let mut descriptor = [0; COMMAND_BYTES];
            let address = base + slot * COMMAND_BYTES as u64;
            memory.dma_read(address, &mut descriptor).map_err(|_| syndrome::DMA)?;
            self.consumer = self.consumer.wrapping_add(1);
            let latency = pace.latency.saturating_add(slower());
            self.push(descriptor, Source::Ring, Pace { latency, ..pace });
        }
        memory.store32(COMMAND_CONSUMER.offset, self.consumer);
        Ok(())
    }

    fn push(&mut self, descriptor: [u8; COMMAND_BYTES], source: Source, pace: Pace) {
        let soonest = pace.now.saturating_add(pace.latency);
        let after_last = self.last_due.map_or(0, |last| last.saturating_add(pace.interval));
        let due = soonest.max(after_last);
        self.last_due = Some(due);
        self.fetched.push_back(Fetched { due, descriptor, source });
    }

    /// The next command that takes effect by `now`.
    pub(crate) fn next(&mut self, now: u64) -> Option<Fetched> {
        if self.next_due()? <= now { self.fetched.pop_front() } else { None }
    }

    /// When the next command takes effect.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.fetched.front().map(|fetched| fetched.due)
    }
}

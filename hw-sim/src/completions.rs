//! The completion ring and the window's answer (`docs/nic-abi.md` §3.4, §3.5, §10).

use crate::registers::{load64, store_bytes};
use std::collections::VecDeque;
use twinpath_abi::bus::CardMemory;
use twinpath_abi::command::opcode;
use twinpath_abi::completion::{COMPLETION_BYTES, Completion};
use twinpath_abi::register::{
    COMPLETION_BASE, COMPLETION_CONSUMER, COMPLETION_SIZE_LOG2, WINDOW_COMPLETION, WINDOW_DONE,
    syndrome,
};

/// Where a command came from and its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command ring.
    Ring,
    /// The window; the value of its submit register.
    Window(u32),
}

/// The completion ring, and completions that wait for room in it.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    ring: Option<Ring>,
    /// At most one per command fetched, parked command and hold queue.
    waiting: VecDeque<Completion>,
    /// Overflow events among them: their hold queues are not free yet.
    events: u32,
    changed: bool,
}

#[derive(Debug)]
struct Ring {
    base: u64,
    size_log2: u32,
    produced: u32,
}

impl Completions {
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Opens the ring from its registers.
    pub(crate) fn open(&mut self, memory: &impl CardMemory, log2_max: u32) -> Result<(), u32> {
        let size_log2 = memory.load32(COMPLETION_SIZE_LOG2.offset);
        let base = load64(memory, COMPLETION_BASE.offset);
        let aligned = base.is_multiple_of(COMPLETION_BYTES as u64) && base <= u64::MAX / 2;
        if !(4..=log2_max).contains(&size_log2) || !aligned {
            return Err(syndrome::RING);
        }
        self.ring = Some(Ring { base, size_log2, produced: 0 });
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.ring = None;
    }

    /// Overflow events the host has not been told yet.
    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    /// Slots free for further commands, beside the completions that wait.
    pub(crate) fn room(&self, memory: &impl CardMemory) -> Result<usize, u32> {
        let Some(ring) = &self.ring else {
            return Ok(0);
        };
        let taken = ring.produced.wrapping_sub(memory.load32(COMPLETION_CONSUMER.offset));
        let size = 1_u32 << ring.size_log2;
        let free = size.checked_sub(taken).ok_or(syndrome::INDEX)?;
        Ok((free as usize).saturating_sub(self.waiting.len()))
    }

    /// Answers a command.
    pub(crate) fn push(&mut self, memory: &impl CardMemory, to: Source, completion: Completion) {
        self.changed = true;
        match to {
            Source::Ring => {
                self.events += u32::from(completion.opcode == opcode::HOLD_OVERFLOW);
                self.waiting.push_back(completion);
            }
            Source::Window(submitted) => {
                store_bytes(memory, WINDOW_COMPLETION, &completion.encode(true));
                memory.store32(WINDOW_DONE.offset, submitted);
            }
        }
    }

    /// Whether there are answers that the host has not been told of.
    pub(crate) fn is_behind(&self) -> bool {
        self.changed
    }

    /// Writes what has room, `aim` slots too far or with a syndrome; whether there is something to announce.
    pub(crate) fn publish<M: CardMemory>(
        &mut self,
        memory: &M,
        aim: &mut impl FnMut() -> Result<u32, u32>,
    ) -> Result<bool, u32> {
        let mut wrote = std::mem::take(&mut self.changed);
        if let Some(ring) = &mut self.ring {
            let consumer = memory.load32(COMPLETION_CONSUMER.offset);
            let size = 1_u32 << ring.size_log2;
            let taken = ring.produced.wrapping_sub(consumer);
            let free = size.checked_sub(taken).ok_or(syndrome::INDEX)?;
            for _ in 0..free {
                let Some(completion) = self.waiting.pop_front() else { break };
                self.events -= u32::from(completion.opcode == opcode::HOLD_OVERFLOW);
                let slot = u64::from(ring.produced.wrapping_add(aim()?) & (size - 1));
                let bytes = completion.encode(Completion::phase(ring.produced, ring.size_log2));
                let address = ring.base + slot * COMPLETION_BYTES as u64;
                memory.dma_write(address, &bytes).map_err(|_| syndrome::DMA)?;
                ring.produced = ring.produced.wrapping_add(1);
                wrote = true;
            }
        }
        Ok(wrote)
    }
}

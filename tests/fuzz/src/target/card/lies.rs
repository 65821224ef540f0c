//! Memory shared with a card, in which the driver reads what a script says now and then.

use crate::script::Script;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use twinpath_abi::bus::{AllocError, Bus, CardMemory as _, Iova};
use twinpath_abi::memory::{ARENA_BASE, SharedMemory};
use twinpath_abi::register::BAR_BYTES;

/// Lies of one script at most.
const LIES_MAX: usize = 256;

/// One lie: after so many honest reads.
#[derive(Clone, Copy, Debug)]
struct Lie {
    after: u16,
    kind: u8,
    value: u64,
}

/// The bus.
pub(super) struct LyingBus {
    memory: SharedMemory,
    lies: Mutex<Vec<Lie>>,
    /// Registers at power-up.
    fresh: Vec<u32>,
}

impl LyingBus {
    /// A bus over `memory`, which no card has touched yet, that tells the lies of `script`.
    pub(super) fn new(memory: SharedMemory, script: &[u8]) -> Self {
        let mut script = Script::new(script);
        let mut lies = Vec::new();
        while !script.is_over() && lies.len() < LIES_MAX {
            let kind = script.byte();
            let after = if kind & 0x80 == 0 { script.byte().into() } else { script.word16() };
            let value = if kind & 0x40 == 0 { script.byte().into() } else { script.word64() };
            lies.push(Lie { after, kind, value });
        }
        lies.reverse();
        let fresh = (0..BAR_BYTES).step_by(4).map(|at| memory.load32(at)).collect();
        Self { memory, lies: Mutex::new(lies), fresh }
    }

    fn lies(&self) -> MutexGuard<'_, Vec<Lie>> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is read instead of `true_value`, if it is time to lie.
    fn tell(&self, true_value: u64) -> u64 {
        let mut lies = self.lies();
        let Some(next) = lies.last_mut() else { return true_value };
        if next.after > 0 {
            next.after -= 1;
            return true_value;
        }
        let Lie { kind, value, .. } = *next;
        lies.pop();
        match kind & 7 {
            0 => value,
            1 => true_value ^ value,
            2 => true_value.wrapping_add(value),
            3 => true_value.wrapping_sub(value),
            4 => u64::MAX,
            5 => true_value ^ 1_u64.wrapping_shl(u32::try_from(value & 63).expect("six bits")),
            6 => true_value.swap_bytes(),
            _ => 0,
        }
    }

    /// Writes behind everybody's back.
    pub(super) fn scribble(&self, place: u32, value: u64) {
        if place & 1 == 0 {
            let low = u32::try_from(value & 0xffff_ffff).expect("masked");
            self.memory.write32((place % BAR_BYTES) & !3, low);
        } else {
            let at = u64::from(place >> 1) * 8 % self.memory.arena_bytes();
            self.memory.store64(Iova(ARENA_BASE + (at & !7)), value);
        }
    }

    /// Tells no more lies.
    pub(super) fn be_honest(&self) {
        self.lies().clear();
    }

    /// The memory, its registers as they were at power-up: for a new card in the slot.
    pub(super) fn vacated(&self) -> SharedMemory {
        for (at, word) in (0..BAR_BYTES).step_by(4).zip(&self.fresh) {
            self.memory.store32(at, *word);
        }
        self.memory.clone()
    }
}

impl Bus for LyingBus {
    fn bar_bytes(&self) -> u32 {
        BAR_BYTES
    }

    fn read32(&self, offset: u32) -> u32 {
        let told = self.tell(self.memory.read32(offset).into());
        u32::try_from(told & 0xffff_ffff).expect("masked")
    }

    fn write32(&self, offset: u32, value: u32) {
        self.memory.write32(offset, value);
    }

    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        self.memory.alloc(bytes)
    }

    fn reclaim(&self) {
        self.memory.reclaim();
    }

    fn copy_out(&self, from: Iova, out: &mut [u8]) {
        self.memory.copy_out(from, out);
        for word in out.chunks_mut(8) {
            let mut told = [0; 8];
            told[..word.len()].copy_from_slice(word);
            told = self.tell(u64::from_le_bytes(told)).to_le_bytes();
            word.copy_from_slice(&told[..word.len()]);
        }
    }

    fn copy_in(&self, to: Iova, bytes: &[u8]) {
        self.memory.copy_in(to, bytes);
    }

    fn load64(&self, from: Iova) -> u64 {
        self.tell(self.memory.load64(from))
    }

    fn store64(&self, to: Iova, value: u64) {
        self.memory.store64(to, value);
    }

    fn vectors(&self) -> u16 {
        Bus::vectors(&self.memory)
    }

    fn poll_interrupt(&self, vector: u16) -> u64 {
        self.memory.poll_interrupt(vector)
    }

    fn wait_interrupt(&self, timeout: Duration) -> bool {
        self.memory.wait_interrupt(timeout)
    }
}

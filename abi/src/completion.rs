//! The completion: 128 bytes, two beats; the phase is in its last word (`docs/nic-abi.md` §10.1).

use crate::register::QUEUES_MAX;
use crate::words::{put, u16_at, u32_at, u64_at};

/// Bytes of a completion.
pub const COMPLETION_BYTES: usize = 128;
/// Offset of the last aligned word, whose bit 32 is the phase (§10.2).
pub const PHASE_WORD: usize = 120;
/// The phase bit in that word.
pub const PHASE_BIT: u64 = 1 << 32;
/// Time of a last hit that never was.
pub const NEVER: u64 = u64::MAX;

/// Offsets in the completion (§10.1).
pub mod field {
    /// Frames delivered per queue, modulo 2^32.
    pub const DELIVERED: usize = 0;
    /// Tag of the command.
    pub const TAG: usize = 64;
    /// Packets.
    pub const PACKETS: usize = 72;
    /// Bytes.
    pub const BYTES: usize = 80;
    /// Last hit.
    pub const LAST_HIT: usize = 88;
    /// The card's clock.
    pub const AS_OF: usize = 96;
    /// Epoch.
    pub const EPOCH: usize = 104;
    /// Entry id.
    pub const ENTRY: usize = 108;
    /// Depends on the operation.
    pub const DETAIL: usize = 112;
    /// Status.
    pub const STATUS: usize = 116;
    /// Operation code.
    pub const OPCODE: usize = 118;
    /// Flags.
    pub const FLAGS: usize = 119;
    /// Commands fetched so far.
    pub const CONSUMER: usize = 120;
    /// Phase.
    pub const PHASE: usize = 124;
}

/// Bits of the flags byte (§10.1).
pub mod flag {
    /// Packets, bytes and last hit are valid.
    pub const COUNTS: u8 = 1;
    /// SWEEP: every counter was written.
    pub const COMPLETE: u8 = 2;
}

/// How a command ended (§10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
pub enum Status {
    /// Done.
    #[error("done")]
    Done = 0,
    /// The descriptor is no command.
    #[error("bad command")]
    BadCommand = 1,
    /// No such table, or not of the kind.
    #[error("bad table")]
    BadTable = 2,
    /// The place is beyond the table.
    #[error("bad place")]
    BadPlace = 3,
    /// No way of the key leads to the place.
    #[error("wrong place for this key")]
    WrongPlace = 4,
    /// The place is taken.
    #[error("place occupied")]
    Occupied = 5,
    /// No entry of that id at that place.
    #[error("no entry")]
    NoEntry = 6,
    /// The operand breaks a rule.
    #[error("bad image")]
    BadImage = 7,
    /// The operand's memory cannot be reached.
    #[error("dma fault")]
    DmaFault = 8,
    /// The bank is not empty.
    #[error("bank not empty")]
    NotEmpty = 9,
    /// The counter does not exist or is in use.
    #[error("bad counter")]
    BadCounter = 10,
    /// No hold queue is free.
    #[error("no hold queue")]
    NoHold = 11,
    /// The hold queue overflowed; the entry is gone.
    #[error("hold overflow")]
    HoldOverflow = 12,
    /// The generation is in the past.
    #[error("bad generation")]
    BadGeneration = 13,
    /// No such port.
    #[error("bad port")]
    BadPort = 14,
    /// No such tunnel.
    #[error("bad tunnel")]
    BadTunnel = 15,
    /// The entry is not held, or is being released.
    #[error("not held")]
    NotHeld = 16,
    /// The command needs DMA memory.
    #[error("needs dma")]
    NeedsDma = 17,
    /// The entry is being deleted.
    #[error("being deleted")]
    Deleting = 18,
    /// The COMMIT says another number of DELETEs than the card knows of.
    #[error("deletes missing")]
    DeletesMissing = 19,
}

impl Status {
    /// All, in the order of their codes.
    pub const ALL: [Self; 20] = [
        Self::Done,
        Self::BadCommand,
        Self::BadTable,
        Self::BadPlace,
        Self::WrongPlace,
        Self::Occupied,
        Self::NoEntry,
        Self::BadImage,
        Self::DmaFault,
        Self::NotEmpty,
        Self::BadCounter,
        Self::NoHold,
        Self::HoldOverflow,
        Self::BadGeneration,
        Self::BadPort,
        Self::BadTunnel,
        Self::NotHeld,
        Self::NeedsDma,
        Self::Deleting,
        Self::DeletesMissing,
    ];

    /// The status of that code, if there is one.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Counters of an entry at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames as received, without FCS.
    pub bytes: u64,
    /// The card's clock at the last packet, [`NEVER`] for none.
    pub last_hit: u64,
}

impl Counters {
    /// Of an entry that no packet has met.
    pub const ZERO: Self = Self { packets: 0, bytes: 0, last_hit: NEVER };
}

/// A completion (§10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Frames delivered per queue so far, modulo 2^32.
    pub delivered: [u32; QUEUES_MAX],
    /// Tag of the command.
    pub tag: u64,
    /// Counters of the entry, where the command returns them.
    pub counters: Option<Counters>,
    /// The card's clock.
    pub as_of: u64,
    /// Count of resets.
    pub epoch: u32,
    /// Entry id of the command or event.
    pub entry: u32,
    /// SWEEP: records written. LINK: port index, bit 31 when up. READ_ENTRY: 1 when it holds.
    pub detail: u32,
    /// Status code; [`Status::from_code`].
    pub status: u16,
    /// Operation code.
    pub opcode: u8,
    /// SWEEP: whether every counter was written.
    pub complete: bool,
    /// Commands fetched so far, modulo 2^32.
    pub consumer: u32,
}

impl Completion {
    /// The completion with this phase (§10.2).
    #[must_use]
    pub fn encode(&self, phase: bool) -> [u8; COMPLETION_BYTES] {
        let mut bytes = [0; COMPLETION_BYTES];
        for (index, delivered) in self.delivered.iter().enumerate() {
            put(&mut bytes, field::DELIVERED + index * 4, &delivered.to_le_bytes());
        }
        put(&mut bytes, field::TAG, &self.tag.to_le_bytes());
        if let Some(counters) = self.counters {
            put(&mut bytes, field::PACKETS, &counters.packets.to_le_bytes());
            put(&mut bytes, field::BYTES, &counters.bytes.to_le_bytes());
            put(&mut bytes, field::LAST_HIT, &counters.last_hit.to_le_bytes());
            bytes[field::FLAGS] |= flag::COUNTS;
        }
        if self.complete {
            bytes[field::FLAGS] |= flag::COMPLETE;
        }
        put(&mut bytes, field::AS_OF, &self.as_of.to_le_bytes());
        put(&mut bytes, field::EPOCH, &self.epoch.to_le_bytes());
        put(&mut bytes, field::ENTRY, &self.entry.to_le_bytes());
        put(&mut bytes, field::DETAIL, &self.detail.to_le_bytes());
        put(&mut bytes, field::STATUS, &self.status.to_le_bytes());
        bytes[field::OPCODE] = self.opcode;
        put(&mut bytes, field::CONSUMER, &self.consumer.to_le_bytes());
        bytes[field::PHASE] = u8::from(phase);
        bytes
    }

    /// Reads a completion; every bit pattern is one, so its values are still to be checked.
    #[must_use]
    pub fn decode(bytes: &[u8; COMPLETION_BYTES]) -> Self {
        let mut delivered = [0; QUEUES_MAX];
        for (index, count) in delivered.iter_mut().enumerate() {
            *count = u32_at(bytes, field::DELIVERED + index * 4);
        }
        let flags = bytes[field::FLAGS];
        let counters = (flags & flag::COUNTS != 0).then(|| Counters {
            packets: u64_at(bytes, field::PACKETS),
            bytes: u64_at(bytes, field::BYTES),
            last_hit: u64_at(bytes, field::LAST_HIT),
        });
        Self {
            delivered,
            tag: u64_at(bytes, field::TAG),
            counters,
            as_of: u64_at(bytes, field::AS_OF),
            epoch: u32_at(bytes, field::EPOCH),
            entry: u32_at(bytes, field::ENTRY),
            detail: u32_at(bytes, field::DETAIL),
            status: u16_at(bytes, field::STATUS),
            opcode: bytes[field::OPCODE],
            complete: flags & flag::COMPLETE != 0,
            consumer: u32_at(bytes, field::CONSUMER),
        }
    }

    /// The phase the completion of that index since bring-up has, in a ring of 2^`size_log2`:
    /// true in the first round, then alternating (§10.2).
    #[must_use]
    pub const fn phase(index: u32, size_log2: u32) -> bool {
        index >> size_log2 & 1 == 0
    }
}

const _: () = assert!(field::PHASE + 4 == COMPLETION_BYTES);
const _: () = assert!(PHASE_WORD + 4 == field::PHASE);
const _: () = assert!(field::DELIVERED + QUEUES_MAX * 4 == field::TAG);

//! The receive descriptor: 64 bytes, written by the card; the sequence number in its last word
//! publishes it (`docs/nic-abi.md` §11.1).

use crate::words::{put, u16_at, u32_at, u64_at};

/// Bytes of a receive descriptor.
pub const RECEIVE_BYTES: usize = 64;
/// Offset of the sequence number, the last aligned word.
pub const SEQUENCE_WORD: usize = 56;

/// Why a frame comes to the host (§11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReceiveReason {
    /// No entry matched, or bypass.
    NoEntry = 1,
    /// An entry or tunnel matched that must not handle this packet.
    Exception = 2,
    /// An entry sent it.
    ToHost = 3,
    /// A copy for verification (§8.9).
    Mirror = 4,
}

impl ReceiveReason {
    /// The reason of that code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::NoEntry,
            2 => Self::Exception,
            3 => Self::ToHost,
            4 => Self::Mirror,
            _ => return None,
        })
    }
}

/// Offsets in the descriptor (§11.1).
pub mod field {
    /// Time of reception.
    pub const TIMESTAMP: usize = 0;
    /// Bytes of the frame.
    pub const LENGTH: usize = 8;
    /// Generation.
    pub const GENERATION: usize = 12;
    /// Entry id.
    pub const ENTRY: usize = 16;
    /// Mark.
    pub const MARK: usize = 20;
    /// Physical port index.
    pub const PORT: usize = 24;
    /// Reason.
    pub const REASON: usize = 26;
    /// Which frame of a sample.
    pub const PART: usize = 27;
    /// Index of the port the frame left by.
    pub const LEFT_BY: usize = 28;
    /// Frames of the sample that were sent.
    pub const PARTS: usize = 30;
    /// Why the frame was sampled.
    pub const ORDER: usize = 31;
    /// Sample number.
    pub const SAMPLE: usize = 32;
    /// Packets of the entry.
    pub const PACKETS: usize = 40;
    /// Bytes of the entry.
    pub const BYTES: usize = 48;
    /// Sequence number.
    pub const SEQUENCE: usize = 56;
}

/// Why a frame was sampled (§8.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MirrorOrder {
    /// One of many.
    Sampled = 0,
    /// The first of its entry since ADD.
    First = 1,
    /// The next of its entry after a sampled one.
    Successor = 2,
}

impl MirrorOrder {
    /// The order of that code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Sampled,
            1 => Self::First,
            2 => Self::Successor,
            _ => return None,
        })
    }
}

/// What a mirrored frame is accompanied by (§8.9, §11.1); zero for other reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorPart {
    /// Number of the sample.
    pub sample: u32,
    /// 0: the frame as received, which ends its sample; k: the k-th frame sent of it.
    pub part: u8,
    /// Frames of the sample that were sent; in part 0.
    pub parts: u8,
    /// Index of the port the frame left by; in parts from 1.
    pub left_by: u16,
    /// Why; `None` for a code that no card writes.
    pub order: Option<MirrorOrder>,
    /// Packets of the entry, this one included; in part 0.
    pub packets: u64,
    /// Bytes of the entry, this frame's included; in part 0.
    pub bytes: u64,
}

impl MirrorPart {
    /// Of a frame that comes for another reason.
    pub const NONE: Self = Self {
        sample: 0,
        part: 0,
        parts: 0,
        left_by: 0,
        order: Some(MirrorOrder::Sampled),
        packets: 0,
        bytes: 0,
    };
}

/// A receive descriptor (§11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// The card's clock at reception.
    pub timestamp: u64,
    /// Bytes of the frame.
    pub length: u32,
    /// Generation current when the frame was parsed.
    pub generation: u32,
    /// Entry that sent it or that it is an exception of; [`crate::entry::NO_ENTRY`] for none.
    pub entry: u32,
    /// Mark of the entry, for [`ReceiveReason::ToHost`].
    pub mark: u32,
    /// Index of the physical port it came in on.
    pub port: u16,
    /// Why it comes; `None` for a code that no card writes.
    pub reason: Option<ReceiveReason>,
    /// For [`ReceiveReason::Mirror`].
    pub mirror: MirrorPart,
    /// Frames delivered on this queue, this one included.
    pub sequence: u64,
}

impl Receive {
    /// The descriptor.
    #[must_use]
    pub fn encode(&self) -> [u8; RECEIVE_BYTES] {
        let mut bytes = [0; RECEIVE_BYTES];
        put(&mut bytes, field::TIMESTAMP, &self.timestamp.to_le_bytes());
        put(&mut bytes, field::LENGTH, &self.length.to_le_bytes());
        put(&mut bytes, field::GENERATION, &self.generation.to_le_bytes());
        put(&mut bytes, field::ENTRY, &self.entry.to_le_bytes());
        put(&mut bytes, field::MARK, &self.mark.to_le_bytes());
        put(&mut bytes, field::PORT, &self.port.to_le_bytes());
        bytes[field::REASON] = self.reason.map_or(0, |reason| reason as u8);
        bytes[field::PART] = self.mirror.part;
        put(&mut bytes, field::LEFT_BY, &self.mirror.left_by.to_le_bytes());
        bytes[field::PARTS] = self.mirror.parts;
        bytes[field::ORDER] = self.mirror.order.map_or(0, |order| order as u8);
        put(&mut bytes, field::SAMPLE, &self.mirror.sample.to_le_bytes());
        put(&mut bytes, field::PACKETS, &self.mirror.packets.to_le_bytes());
        put(&mut bytes, field::BYTES, &self.mirror.bytes.to_le_bytes());
        put(&mut bytes, field::SEQUENCE, &self.sequence.to_le_bytes());
        bytes
    }

    /// Reads a descriptor; its values are still to be checked.
    #[must_use]
    pub fn decode(bytes: &[u8; RECEIVE_BYTES]) -> Self {
        Self {
            timestamp: u64_at(bytes, field::TIMESTAMP),
            length: u32_at(bytes, field::LENGTH),
            generation: u32_at(bytes, field::GENERATION),
            entry: u32_at(bytes, field::ENTRY),
            mark: u32_at(bytes, field::MARK),
            port: u16_at(bytes, field::PORT),
            reason: ReceiveReason::from_code(bytes[field::REASON]),
            mirror: MirrorPart {
                sample: u32_at(bytes, field::SAMPLE),
                part: bytes[field::PART],
                parts: bytes[field::PARTS],
                left_by: u16_at(bytes, field::LEFT_BY),
                order: MirrorOrder::from_code(bytes[field::ORDER]),
                packets: u64_at(bytes, field::PACKETS),
                bytes: u64_at(bytes, field::BYTES),
            },
            sequence: u64_at(bytes, field::SEQUENCE),
        }
    }
}

const _: () = assert!(field::SEQUENCE == SEQUENCE_WORD && SEQUENCE_WORD + 8 == RECEIVE_BYTES);

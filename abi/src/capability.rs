//! The capability block: what the card can do, as data (`docs/nic-abi.md` §4).

use crate::hash::WAYS;
use crate::register::{PORTS_MAX, QUEUES_MAX};
use crate::words::{put, u32_at, u64_at};

/// Bytes of the block.
pub const CAPABILITY_BYTES: usize = 768;
/// Most exact banks.
pub const BANKS_MAX: usize = 32;
/// Places of the ternary table at most.
pub const TERNARY_MAX: u32 = 65_536;
/// Places of an exact bank at most.
pub const BANK_PLACES_MAX: u32 = 1 << 24;

/// Action bits (§4.2).
pub mod action {
    /// Byte-masked sets.
    pub const SET: u32 = 1;
    /// Bit-masked type of service.
    pub const TOS: u32 = 2;
    /// Bit-masked rewrite of the outer tag.
    pub const TCI: u32 = 4;
    /// TTL decrement with threshold.
    pub const TTL: u32 = 8;
    /// Tags popped.
    pub const POP: u32 = 16;
    /// Tags pushed.
    pub const PUSH: u32 = 32;
    /// Several physical outputs.
    pub const MULTI: u32 = 64;
    /// A tunnel output.
    pub const TUNNEL: u32 = 128;
    /// To the host with a mark.
    pub const TO_HOST: u32 = 256;
    /// Mirrors samples (§8.9).
    pub const MIRROR: u32 = 512;
    /// All of version 1.1.
    pub const ALL: u32 = 1023;
}

/// Geometry of an exact bank (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bank {
    /// Slots of each of the [`WAYS`] ways.
    pub slots: u32,
    /// Places of the stash.
    pub stash: u32,
}

impl Bank {
    /// Places: ways, then stash.
    #[must_use]
    pub fn places(&self) -> u32 {
        self.slots.saturating_mul(4).saturating_add(self.stash)
    }
}

/// The block (§4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Physical ports, 2 to 64.
    pub ports: u32,
    /// Queue pairs, 1 to 16.
    pub queues: u32,
    /// Places of the ternary table.
    pub ternary: u32,
    /// Counters.
    pub counters: u32,
    /// Frames a held entry keeps; 0: the card cannot hold.
    pub hold_frames: u32,
    /// Entries held at the same time.
    pub hold_entries: u32,
    /// Tunnels.
    pub tunnels: u32,
    /// Largest logarithm of a ring's size: command, completion, receive, transmit.
    pub ring_log2_max: [u32; 4],
    /// Interrupt vectors.
    pub vectors: u32,
    /// Action bits, [`action`].
    pub actions: u32,
    /// TTL decrements in one entry.
    pub ttl_decrements: u32,
    /// Longest age of a counter in a sweep, in nanoseconds.
    pub counter_staleness_ns: u64,
    /// Longest time of a reset.
    pub reset_ms_max: u32,
    /// Longest time of a command other than RELEASE and DELETE with UNTIL.
    pub command_ms_max: u32,
    /// Frames a port's queue keeps in each direction.
    pub port_frames: u32,
    /// Granularity of timestamps.
    pub clock_ns: u32,
    /// Nominal time from a frame's last byte in to its first byte out.
    pub packet_latency_ns: u32,
    /// Nominal time from a doorbell to the completion.
    pub command_latency_ns: u32,
    /// Nominal time between two commands' completions.
    pub command_interval_ns: u32,
    /// Exact banks, in the order of precedence.
    pub banks: Vec<Bank>,
}

/// Why a block is not credible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// The block's own length is not that of this version.
    #[error("capability block says {0} bytes")]
    Length(u32),
    /// A value is out of the limits of §4.1.
    #[error("capability at offset {offset:#x} is {value}, out of its limits")]
    Range {
        /// Offset in the block.
        offset: usize,
        /// Value.
        value: u32,
    },
}

/// Offset of the bank array in the block.
const BANKS: usize = 0x100;
/// Bytes of a bank's geometry.
const BANK_BYTES: usize = 16;

/// 32-bit values: offset, lowest and highest credible value.
const LIMITS: [(usize, u32, u32); 21] = [
    (0x04, 2, 64),
    (0x08, 1, 16),
    (0x0c, 0, 32),
    (0x10, 0, TERNARY_MAX),
    (0x14, 0, 1 << 24),
    (0x18, 0, 4096),
    (0x1c, 0, 1 << 24),
    (0x20, 0, 4096),
    (0x24, 4, 16),
    (0x28, 4, 16),
    (0x2c, 4, 16),
    (0x30, 4, 16),
    (0x34, 1, 64),
    (0x38, 0, u32::MAX),
    (0x3c, 0, 255),
    (0x48, 1, 10_000),
    (0x4c, 1, 10_000),
    (0x50, 1, 1 << 20),
    (0x54, 1, 1_000_000_000),
    (0x58, 0, u32::MAX),
    (0x5c, 0, u32::MAX),
];

impl Capability {
    /// The block.
    ///
    /// # Panics
    /// When there are more than [`BANKS_MAX`] banks.
    #[must_use]
    pub fn encode(&self) -> [u8; CAPABILITY_BYTES] {
        let mut bytes = [0; CAPABILITY_BYTES];
        assert!(self.banks.len() <= BANKS_MAX, "{} banks", self.banks.len());
        let [command, completion, receive, transmit] = self.ring_log2_max;
        let words: [(usize, u32); 23] = [
            (0x00, 768),
            (0x04, self.ports),
            (0x08, self.queues),
            (0x0c, u32::try_from(self.banks.len()).expect("checked above")),
            (0x10, self.ternary),
            (0x14, self.counters),
            (0x18, self.hold_frames),
            (0x1c, self.hold_entries),
            (0x20, self.tunnels),
            (0x24, command),
            (0x28, completion),
            (0x2c, receive),
            (0x30, transmit),
            (0x34, self.vectors),
            (0x38, self.actions),
            (0x3c, self.ttl_decrements),
            (0x48, self.reset_ms_max),
            (0x4c, self.command_ms_max),
            (0x50, self.port_frames),
            (0x54, self.clock_ns),
            (0x58, self.packet_latency_ns),
            (0x5c, self.command_latency_ns),
            (0x60, self.command_interval_ns),
        ];
        for (offset, value) in words {
            put(&mut bytes, offset, &value.to_le_bytes());
        }
        put(&mut bytes, 0x40, &self.counter_staleness_ns.to_le_bytes());
        for (index, bank) in self.banks.iter().enumerate() {
            let at = BANKS + index * BANK_BYTES;
            put(&mut bytes, at, &bank.slots.to_le_bytes());
            put(&mut bytes, at + 4, &bank.stash.to_le_bytes());
        }
        bytes
    }

    /// Reads a block and checks that it is credible.
    ///
    /// # Errors
    /// [`CapabilityError`] for the first value out of its limits.
    pub fn decode(bytes: &[u8; CAPABILITY_BYTES]) -> Result<Self, CapabilityError> {
        let at = |offset: usize| u32_at(bytes, offset);
        if at(0) as usize != CAPABILITY_BYTES {
            return Err(CapabilityError::Length(at(0)));
        }
        let range = |offset: usize| CapabilityError::Range { offset, value: at(offset) };
        for (offset, low, high) in LIMITS {
            if !(low..=high).contains(&at(offset)) {
                return Err(range(offset));
            }
        }
        let mut banks = Vec::with_capacity(BANKS_MAX);
        for index in 0..at(0x0c) as usize {
            let offset = BANKS + index * BANK_BYTES;
            let bank = Bank { slots: at(offset), stash: at(offset + 4) };
            if !(1..=BANK_PLACES_MAX).contains(&bank.places()) || bank.slots == 0 {
                return Err(range(offset));
            }
            banks.push(bank);
        }
        Ok(Self {
            ports: at(0x04),
            queues: at(0x08),
            ternary: at(0x10),
            counters: at(0x14),
            hold_frames: at(0x18),
            hold_entries: at(0x1c),
            tunnels: at(0x20),
            ring_log2_max: [at(0x24), at(0x28), at(0x2c), at(0x30)],
            vectors: at(0x34),
            actions: at(0x38),
            ttl_decrements: at(0x3c),
            counter_staleness_ns: u64_at(bytes, 0x40),
            reset_ms_max: at(0x48),
            command_ms_max: at(0x4c),
            port_frames: at(0x50),
            clock_ns: at(0x54),
            packet_latency_ns: at(0x58),
            command_latency_ns: at(0x5c),
            command_interval_ns: at(0x60),
            banks,
        })
    }
}

const _: () = assert!(PORTS_MAX == 64 && QUEUES_MAX == 16 && BANKS_MAX == 32 && WAYS == 4);
const _: () = assert!(BANKS + BANKS_MAX * BANK_BYTES == CAPABILITY_BYTES);

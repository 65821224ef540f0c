//! The entry image: 256 bytes, four beats: match value, ternary mask, set value, control
//! (`docs/nic-abi.md` §7.1).

use crate::key::KeyBytes;
use crate::words::{array_at, put, u16_at, u32_at, u64_at};

/// Bytes of an entry image.
pub const ENTRY_BYTES: usize = 256;
/// `until` of an entry that serves without end (§7.4).
pub const FOREVER: u32 = u32::MAX;
/// Entry id that names none (§7.1).
pub const NO_ENTRY: u32 = u32::MAX;
/// Most tags pushed.
pub const PUSHES_MAX: usize = 2;
/// Most received tags popped.
pub const POPS_MAX: u8 = 2;
/// §7.2 Key bytes a byte mask may write, bit i for byte i: ip_proto (ARP opcode), ttl, Ethernet and
/// IP addresses, ports, tunnel id. Tag and type of service have bit masks of their own.
pub const SETTABLE_BYTES: u64 = 0xffff_ffff_ffff_f140;

/// Offsets in the image (§7.1).
pub mod field {
    /// Match value.
    pub const MATCH: usize = 0;
    /// Ternary mask.
    pub const MASK: usize = 64;
    /// Set value.
    pub const SET: usize = 128;
    /// Byte mask of the set value.
    pub const BYTE_MASK: usize = 192;
    /// Physical outputs.
    pub const OUTPUTS: usize = 200;
    /// Bit mask of the type of service.
    pub const TOS_MASK: usize = 208;
    /// TTL decrements.
    pub const TTL_DECREMENTS: usize = 209;
    /// Bit mask of the tag.
    pub const TCI_MASK: usize = 210;
    /// TTL threshold.
    pub const TTL_THRESHOLD: usize = 212;
    /// Flags.
    pub const FLAGS: usize = 213;
    /// Pops.
    pub const POPS: usize = 214;
    /// Number of pushes.
    pub const PUSHES: usize = 215;
    /// The two pushes: TPID, TCI.
    pub const PUSH: usize = 216;
    /// Tunnel output.
    pub const TUNNEL: usize = 224;
    /// Egress queue, reserved.
    pub const QUEUE: usize = 226;
    /// QFI carried to the tunnel output.
    pub const QFI: usize = 227;
    /// Tunnel destination carried to the tunnel output.
    pub const TUN_DST: usize = 228;
    /// Mark of the frame sent to the host.
    pub const MARK: usize = 232;
    /// Meter, reserved.
    pub const METER: usize = 236;
    /// First generation served.
    pub const FROM: usize = 240;
    /// First generation no longer served.
    pub const UNTIL: usize = 244;
    /// Entry id.
    pub const ID: usize = 248;
    /// Counter index.
    pub const COUNTER: usize = 252;
}

/// Bits of the flags byte (§7.1).
pub mod flag {
    /// The threshold is valid.
    pub const THRESHOLD: u8 = 1;
    /// The result is also sent to the host.
    pub const TO_HOST: u8 = 2;
    /// The tunnel output is valid.
    pub const TUNNEL: u8 = 4;
    /// The tunnel destination is valid.
    pub const TUN_DST: u8 = 8;
    /// The QFI is valid.
    pub const QFI: u8 = 16;
    /// All bits in use.
    pub const ALL: u8 = 31;
}

/// A tag to push (§7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Push {
    /// TPID.
    pub tpid: u16,
    /// TCI: pcp, DEI, vid.
    pub tci: u16,
}

/// What an entry does (§7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditImage {
    /// Bytes written, bit i for key byte i; none outside [`SETTABLE_BYTES`].
    pub byte_mask: u64,
    /// Bits of the type of service written, from byte 7 of `set`.
    pub tos_mask: u8,
    /// Bits of the outermost remaining received tag written, from bytes 4 and 5 of `set`.
    pub tci_mask: u16,
    /// TTL decrements, after a TTL set.
    pub ttl_decrements: u8,
    /// A packet at or below it is an exception.
    pub ttl_threshold: Option<u8>,
    /// Received tags removed, at most [`POPS_MAX`].
    pub pops: u8,
    /// Tags pushed, innermost first.
    pub pushes: [Option<Push>; PUSHES_MAX],
    /// Physical ports, bit i for port index i, sent in ascending order.
    pub outputs: u64,
    /// Tunnel the packet is also sent into, after the physical ports.
    pub tunnel: Option<u16>,
    /// Outer destination, for a tunnel without a fixed one.
    pub tun_dst: Option<[u8; 4]>,
    /// QFI, for a tunnel without a fixed one (bit 7: present).
    pub qfi: Option<u8>,
    /// Sends the result to the host with this mark.
    pub to_host: Option<u32>,
}

/// An entry (§7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryImage {
    /// Wanted key bits; 0 outside the mask.
    pub matching: KeyBytes,
    /// Key bits compared, in the ternary table; 0 for exact banks.
    pub mask: KeyBytes,
    /// New values in key layout; 0 where nothing is written.
    pub set: KeyBytes,
    /// What it does.
    pub edit: EditImage,
    /// First generation it serves.
    pub from: u32,
    /// First generation it no longer serves, [`FOREVER`] for none.
    pub until: u32,
    /// Identity, chosen by the host; not [`NO_ENTRY`].
    pub id: u32,
    /// Index of its counters, chosen by the host.
    pub counter: u32,
}

/// In what entries differ that do the same; words as in [`EntryImage`].
#[derive(Clone, Copy, Debug)]
pub struct Distinction<'a> {
    /// Wanted key bits.
    pub matching: &'a KeyBytes,
    /// Key bits compared, in the ternary table; 0 for exact banks.
    pub mask: &'a KeyBytes,
    /// First generation it serves.
    pub from: u32,
    /// Identity; not [`NO_ENTRY`].
    pub id: u32,
    /// Index of its counters.
    pub counter: u32,
}

/// Why an image is not an entry (§7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The byte mask writes bytes it may not.
    #[error("byte mask {0:#018x} writes bytes it may not")]
    ByteMask(u64),
    /// More pops or pushes than there are.
    #[error("{pops} pops, {pushes} pushes")]
    Tags {
        /// Pops.
        pops: u8,
        /// Pushes.
        pushes: u8,
    },
    /// Flags or a field that must be 0 are not.
    #[error("reserved bits are set")]
    Reserved,
    /// The id names no entry.
    #[error("entry id is reserved")]
    Id,
}

impl EntryImage {
    /// The image (§7.1).
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let edit = &self.edit;
        let mut bytes = [0; ENTRY_BYTES];
        put(&mut bytes, field::MATCH, &self.matching);
        put(&mut bytes, field::MASK, &self.mask);
        put(&mut bytes, field::SET, &self.set);
        put(&mut bytes, field::BYTE_MASK, &edit.byte_mask.to_le_bytes());
        put(&mut bytes, field::OUTPUTS, &edit.outputs.to_le_bytes());
        bytes[field::TOS_MASK] = edit.tos_mask;
        bytes[field::TTL_DECREMENTS] = edit.ttl_decrements;
        put(&mut bytes, field::TCI_MASK, &edit.tci_mask.to_le_bytes());
        bytes[field::TTL_THRESHOLD] = edit.ttl_threshold.unwrap_or(0);
        bytes[field::FLAGS] = edit.flags();
        bytes[field::POPS] = edit.pops;
        let mut count = 0;
        for push in edit.pushes.iter().flatten() {
            let at = field::PUSH + usize::from(count) * 4;
            put(&mut bytes, at, &push.tpid.to_le_bytes());
            put(&mut bytes, at + 2, &push.tci.to_le_bytes());
            count += 1;
        }
        bytes[field::PUSHES] = count;
        put(&mut bytes, field::TUNNEL, &edit.tunnel.unwrap_or(0).to_le_bytes());
        bytes[field::QFI] = edit.qfi.unwrap_or(0);
        put(&mut bytes, field::TUN_DST, &edit.tun_dst.unwrap_or([0; 4]));
        put(&mut bytes, field::MARK, &edit.to_host.unwrap_or(0).to_le_bytes());
        put(&mut bytes, field::FROM, &self.from.to_le_bytes());
        put(&mut bytes, field::UNTIL, &self.until.to_le_bytes());
        put(&mut bytes, field::ID, &self.id.to_le_bytes());
        put(&mut bytes, field::COUNTER, &self.counter.to_le_bytes());
        bytes
    }

    /// The image of another entry that does the same: `bytes` is one's image, changed in place.
    pub fn rewrite(bytes: &mut [u8; ENTRY_BYTES], of: &Distinction<'_>) {
        put(bytes, field::MATCH, of.matching);
        put(bytes, field::MASK, of.mask);
        put(bytes, field::FROM, &of.from.to_le_bytes());
        put(bytes, field::ID, &of.id.to_le_bytes());
        put(bytes, field::COUNTER, &of.counter.to_le_bytes());
    }

    /// Reads and checks an image (§7.3).
    ///
    /// # Errors
    /// [`EntryError`] for the first rule it breaks.
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Result<Self, EntryError> {
        let image = Self {
            matching: array_at(bytes, field::MATCH),
            mask: array_at(bytes, field::MASK),
            set: array_at(bytes, field::SET),
            edit: EditImage::decode(bytes)?,
            from: u32_at(bytes, field::FROM),
            until: u32_at(bytes, field::UNTIL),
            id: u32_at(bytes, field::ID),
            counter: u32_at(bytes, field::COUNTER),
        };
        if image.id == NO_ENTRY {
            return Err(EntryError::Id);
        }
        Ok(image)
    }
}

impl EditImage {
    fn flags(&self) -> u8 {
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        bit(self.ttl_threshold.is_some(), flag::THRESHOLD)
            | bit(self.to_host.is_some(), flag::TO_HOST)
            | bit(self.tunnel.is_some(), flag::TUNNEL)
            | bit(self.tun_dst.is_some(), flag::TUN_DST)
            | bit(self.qfi.is_some(), flag::QFI)
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Result<Self, EntryError> {
        let flags = bytes[field::FLAGS];
        let (pops, pushes) = (bytes[field::POPS], bytes[field::PUSHES]);
        let byte_mask = u64_at(bytes, field::BYTE_MASK);
        if byte_mask & !SETTABLE_BYTES != 0 {
            return Err(EntryError::ByteMask(byte_mask));
        }
        if pops > POPS_MAX || usize::from(pushes) > PUSHES_MAX {
            return Err(EntryError::Tags { pops, pushes });
        }
        let reserved = u32_at(bytes, field::METER) | u32::from(bytes[field::QUEUE]);
        if flags & !flag::ALL != 0 || reserved != 0 {
            return Err(EntryError::Reserved);
        }
        let has = |flag: u8| flags & flag != 0;
        let push = |index: usize| {
            let at = field::PUSH + index * 4;
            (index < usize::from(pushes))
                .then(|| Push { tpid: u16_at(bytes, at), tci: u16_at(bytes, at + 2) })
        };
        Ok(Self {
            byte_mask,
            tos_mask: bytes[field::TOS_MASK],
            tci_mask: u16_at(bytes, field::TCI_MASK),
            ttl_decrements: bytes[field::TTL_DECREMENTS],
            ttl_threshold: has(flag::THRESHOLD).then_some(bytes[field::TTL_THRESHOLD]),
            pops,
            pushes: [push(0), push(1)],
            outputs: u64_at(bytes, field::OUTPUTS),
            tunnel: has(flag::TUNNEL).then(|| u16_at(bytes, field::TUNNEL)),
            tun_dst: has(flag::TUN_DST).then(|| array_at(bytes, field::TUN_DST)),
            qfi: has(flag::QFI).then_some(bytes[field::QFI]),
            to_host: has(flag::TO_HOST).then(|| u32_at(bytes, field::MARK)),
        })
    }
}

const _: () = assert!(field::COUNTER + 4 == ENTRY_BYTES);

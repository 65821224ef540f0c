//! The command descriptor: 64 bytes, one beat (`docs/nic-abi.md` §9.1).

use crate::port::SetPort;
use crate::words::{is_zero, put, u16_at, u32_at, u64_at};

/// Bytes of a command descriptor.
pub const COMMAND_BYTES: usize = 64;

/// Operation codes (§9.2).
pub mod opcode {
    /// Does nothing.
    pub const NOP: u8 = 0;
    /// Sets the mask of an exact bank.
    pub const SET_MASK: u8 = 1;
    /// Adds an entry.
    pub const ADD: u8 = 2;
    /// Replaces the edit of an entry.
    pub const MODIFY: u8 = 3;
    /// Takes an entry out.
    pub const DELETE: u8 = 4;
    /// Moves an entry inside its table.
    pub const MOVE: u8 = 5;
    /// Makes a generation current.
    pub const COMMIT: u8 = 6;
    /// Ends holding.
    pub const RELEASE: u8 = 7;
    /// Writes counter records.
    pub const SWEEP: u8 = 8;
    /// Configures a physical port.
    pub const SET_PORT: u8 = 9;
    /// Configures a tunnel.
    pub const SET_TUNNEL: u8 = 10;
    /// Reads an entry.
    pub const READ_ENTRY: u8 = 11;
    /// In a completion only: a hold queue overflowed (§10.3).
    pub const HOLD_OVERFLOW: u8 = 0x80;
    /// In a completion only: a link changed (§10.3).
    pub const LINK: u8 = 0x81;
}

/// Offsets in the descriptor (§9.1).
pub mod field {
    /// Operation code.
    pub const OPCODE: usize = 0;
    /// Flags.
    pub const FLAGS: usize = 1;
    /// Table.
    pub const TABLE: usize = 2;
    /// Entry id.
    pub const ENTRY: usize = 4;
    /// Tag.
    pub const TAG: usize = 8;
    /// Place.
    pub const PLACE: usize = 16;
    /// Second place of a move.
    pub const TARGET: usize = 20;
    /// Generation.
    pub const GENERATION: usize = 24;
    /// First counter of a sweep.
    pub const FIRST: usize = 28;
    /// Number of DELETEs of a COMMIT.
    pub const ENDS: usize = 28;
    /// Bus address of the operand.
    pub const ADDRESS: usize = 32;
    /// Length of the operand.
    pub const LENGTH: usize = 40;
    /// Port or tunnel index.
    pub const INDEX: usize = 44;
    /// Port number.
    pub const NUMBER: usize = 48;
    /// Port flags.
    pub const PORT_FLAGS: usize = 50;
    /// Longest frame received.
    pub const MTU_IN: usize = 52;
    /// Longest frame sent.
    pub const MTU_OUT: usize = 56;
}

/// Bits of the flags byte (§9.1).
pub mod flag {
    /// ADD: hold the entry's packets.
    pub const HOLD: u8 = 1;
    /// DELETE: when the generation becomes current, not now.
    pub const UNTIL: u8 = 2;
    /// The operand is in the window, not at the address.
    pub const WINDOW: u8 = 4;
}

/// Where the operand of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// In DMA memory, at this bus address.
    Dma(u64),
    /// In the window's image (§3.5).
    Window,
}

/// Whether an added entry's packets are held until RELEASE (§8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Forwarded at once.
    Direct,
    /// Held.
    Hold,
}

/// Where an entry is: table, place and id, which must agree (§6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef {
    /// Table: exact banks in order, then the ternary table.
    pub table: u8,
    /// Place in the table.
    pub place: u32,
    /// Id.
    pub id: u32,
}

/// A command (§9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Does nothing.
    Nop,
    /// §9.3 Sets the mask of an exact bank; the operand is 64 bytes.
    SetMask {
        /// Table.
        table: u8,
        /// The mask.
        mask: Operand,
    },
    /// §9.4 Adds an entry; the operand is an entry image.
    Add {
        /// Where to.
        at: EntryRef,
        /// Whether to hold.
        holding: Holding,
        /// The image.
        image: Operand,
    },
    /// §9.5 Replaces set value and edit of an entry; the operand is an entry image.
    Modify {
        /// Where.
        at: EntryRef,
        /// The image.
        image: Operand,
    },
    /// §9.6 Takes an entry out, now or when a generation becomes current.
    Delete {
        /// Where.
        at: EntryRef,
        /// First generation it no longer serves.
        until: Option<u32>,
    },
    /// §9.7 Moves an entry to a free place of its table.
    Move {
        /// Where from.
        at: EntryRef,
        /// Where to.
        target: u32,
    },
    /// §9.8 Makes a generation current.
    Commit {
        /// Generation.
        generation: u32,
        /// DELETEs with a generation since the last COMMIT, if the host says so.
        ends: Option<u32>,
    },
    /// §9.9 Ends holding; the operand is 64 bytes: 16 transmit producer indices.
    Release {
        /// Where.
        at: EntryRef,
        /// The indices.
        indices: Operand,
    },
    /// §9.10 Writes counter records to DMA memory.
    Sweep {
        /// First counter.
        first: u32,
        /// Bus address of the records.
        address: u64,
        /// Bytes of memory there, 32 for each record.
        length: u32,
    },
    /// §9.11 Configures a physical port.
    SetPort(SetPort),
    /// §9.12 Configures a tunnel; the operand is a tunnel image.
    SetTunnel {
        /// Index.
        index: u32,
        /// The image.
        image: Operand,
    },
    /// §9.13 Reads an entry; its image is written to the operand.
    ReadEntry {
        /// Table.
        table: u8,
        /// Place.
        place: u32,
        /// Where to.
        image: Operand,
    },
}

/// Why a descriptor is not a command (§9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such operation.
    #[error("unknown operation code {0:#04x}")]
    Opcode(u8),
    /// Flags or bytes that must be 0 are not.
    #[error("reserved bits are set")]
    Reserved,
}

impl Command {
    /// Its operation code.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        match self {
            Self::Nop => opcode::NOP,
            Self::SetMask { .. } => opcode::SET_MASK,
            Self::Add { .. } => opcode::ADD,
            Self::Modify { .. } => opcode::MODIFY,
            Self::Delete { .. } => opcode::DELETE,
            Self::Move { .. } => opcode::MOVE,
            Self::Commit { .. } => opcode::COMMIT,
            Self::Release { .. } => opcode::RELEASE,
            Self::Sweep { .. } => opcode::SWEEP,
            Self::SetPort(_) => opcode::SET_PORT,
            Self::SetTunnel { .. } => opcode::SET_TUNNEL,
            Self::ReadEntry { .. } => opcode::READ_ENTRY,
        }
    }

    /// The descriptor (§9.1); `tag` comes back in the completion.
    #[must_use]
    pub fn encode(&self, tag: u64) -> [u8; COMMAND_BYTES] {
        let mut bytes = [0; COMMAND_BYTES];
        bytes[field::OPCODE] = self.opcode();
        put(&mut bytes, field::TAG, &tag.to_le_bytes());
        match *self {
            Self::Nop => {}
            Self::SetMask { table, mask } => {
                bytes[field::TABLE] = table;
                put_operand(&mut bytes, mask);
            }
            Self::Add { at, holding, image } => {
                put_entry(&mut bytes, at);
                put_operand(&mut bytes, image);
                if holding == Holding::Hold {
                    bytes[field::FLAGS] |= flag::HOLD;
                }
            }
            Self::Modify { at, image } | Self::Release { at, indices: image } => {
                put_entry(&mut bytes, at);
                put_operand(&mut bytes, image);
            }
            Self::Delete { at, until } => {
                put_entry(&mut bytes, at);
                if let Some(generation) = until {
                    bytes[field::FLAGS] |= flag::UNTIL;
                    put(&mut bytes, field::GENERATION, &generation.to_le_bytes());
                }
            }
            Self::Move { at, target } => {
                put_entry(&mut bytes, at);
                put(&mut bytes, field::TARGET, &target.to_le_bytes());
            }
            Self::Commit { generation, ends } => {
                put(&mut bytes, field::GENERATION, &generation.to_le_bytes());
                let ends = ends.map_or(0, |ends| ends.saturating_add(1));
                put(&mut bytes, field::ENDS, &ends.to_le_bytes());
            }
            Self::Sweep { first, address, length } => {
                put(&mut bytes, field::FIRST, &first.to_le_bytes());
                put(&mut bytes, field::ADDRESS, &address.to_le_bytes());
                put(&mut bytes, field::LENGTH, &length.to_le_bytes());
            }
            Self::SetPort(port) => port.put(&mut bytes),
            Self::SetTunnel { index, image } => {
                put(&mut bytes, field::INDEX, &index.to_le_bytes());
                put_operand(&mut bytes, image);
            }
            Self::ReadEntry { table, place, image } => {
                bytes[field::TABLE] = table;
                put(&mut bytes, field::PLACE, &place.to_le_bytes());
                put_operand(&mut bytes, image);
            }
        }
        bytes
    }

    /// The tag of a descriptor, also of one that is no command.
    #[must_use]
    pub fn tag(bytes: &[u8; COMMAND_BYTES]) -> u64 {
        u64_at(bytes, field::TAG)
    }

    /// Reads and checks a descriptor (§9.1). Bytes that its operation does not use are ignored,
    /// but those past offset 60 and at 3 must be 0.
    ///
    /// # Errors
    /// [`CommandError`] when it is no command.
    pub fn decode(bytes: &[u8; COMMAND_BYTES]) -> Result<Self, CommandError> {
        let flags = bytes[field::FLAGS];
        if flags & !(flag::HOLD | flag::UNTIL | flag::WINDOW) != 0
            || bytes[3] != 0
            || !is_zero(&bytes[60..])
        {
            return Err(CommandError::Reserved);
        }
        let generation = u32_at(bytes, field::GENERATION);
        let operand = match flags & flag::WINDOW {
            0 => Operand::Dma(u64_at(bytes, field::ADDRESS)),
            _ => Operand::Window,
        };
        let (table, place) = (bytes[field::TABLE], u32_at(bytes, field::PLACE));
        let at = EntryRef { table, place, id: u32_at(bytes, field::ENTRY) };
        Ok(match bytes[field::OPCODE] {
            opcode::NOP => Self::Nop,
            opcode::SET_MASK => Self::SetMask { table, mask: operand },
            opcode::ADD => {
                let hold = flags & flag::HOLD != 0;
                let holding = if hold { Holding::Hold } else { Holding::Direct };
                Self::Add { at, holding, image: operand }
            }
            opcode::MODIFY => Self::Modify { at, image: operand },
            opcode::DELETE => {
                Self::Delete { at, until: (flags & flag::UNTIL != 0).then_some(generation) }
            }
            opcode::MOVE => Self::Move { at, target: u32_at(bytes, field::TARGET) },
            opcode::COMMIT => {
                Self::Commit { generation, ends: u32_at(bytes, field::ENDS).checked_sub(1) }
            }
            opcode::RELEASE => Self::Release { at, indices: operand },
            opcode::SWEEP => Self::Sweep {
                first: u32_at(bytes, field::FIRST),
                address: u64_at(bytes, field::ADDRESS),
                length: u32_at(bytes, field::LENGTH),
            },
            opcode::SET_PORT => Self::SetPort(SetPort::read(bytes)),
            opcode::SET_TUNNEL => {
                Self::SetTunnel { index: u32_at(bytes, field::INDEX), image: operand }
            }
            opcode::READ_ENTRY => Self::ReadEntry { table, place, image: operand },
            other => return Err(CommandError::Opcode(other)),
        })
    }
}

fn put_entry(bytes: &mut [u8; COMMAND_BYTES], at: EntryRef) {
    bytes[field::TABLE] = at.table;
    put(bytes, field::ENTRY, &at.id.to_le_bytes());
    put(bytes, field::PLACE, &at.place.to_le_bytes());
}

fn put_operand(bytes: &mut [u8; COMMAND_BYTES], operand: Operand) {
    match operand {
        Operand::Dma(address) => put(bytes, field::ADDRESS, &address.to_le_bytes()),
        Operand::Window => bytes[field::FLAGS] |= flag::WINDOW,
    }
}

impl SetPort {
    fn put(self, bytes: &mut [u8; COMMAND_BYTES]) {
        put(bytes, field::INDEX, &self.index.to_le_bytes());
        put(bytes, field::NUMBER, &self.number.to_le_bytes());
        put(bytes, field::PORT_FLAGS, &u16::from(self.enabled).to_le_bytes());
        put(bytes, field::MTU_IN, &self.mtu_in.to_le_bytes());
        put(bytes, field::MTU_OUT, &self.mtu_out.to_le_bytes());
    }

    fn read(bytes: &[u8; COMMAND_BYTES]) -> Self {
        Self {
            index: u32_at(bytes, field::INDEX),
            number: u16_at(bytes, field::NUMBER),
            enabled: u16_at(bytes, field::PORT_FLAGS) & 1 != 0,
            mtu_in: u32_at(bytes, field::MTU_IN),
            mtu_out: u32_at(bytes, field::MTU_OUT),
        }
    }
}

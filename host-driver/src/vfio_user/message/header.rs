//! The header of every message: 16 bytes.

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;

/// Bits 0 to 3 of the flags: what kind of message.
const TYPE_MASK: u32 = 0xf;
/// Type of a reply; 0 is a command.
const TYPE_REPLY: u32 = 1;
/// The sender wants no reply.
const NO_REPLY: u32 = 1 << 4;
/// The reply tells an error.
const ERROR: u32 = 1 << 5;

/// What a message asks for or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Command {
    /// Agrees on version and limits; the first message.
    Version = 1,
    /// Gives the card memory.
    DmaMap = 2,
    /// Takes it away.
    DmaUnmap = 3,
    /// What the device is.
    DeviceInfo = 4,
    /// What a region is; the reply may carry its file.
    RegionInfo = 5,
    /// What an interrupt index is.
    InterruptInfo = 7,
    /// Sets interrupts up; carries event descriptors.
    SetInterrupts = 8,
    /// Reads a region.
    RegionRead = 9,
    /// Writes a region.
    RegionWrite = 10,
    /// The card reads host memory that has no file.
    DmaRead = 11,
    /// The card writes such memory.
    DmaWrite = 12,
    /// Function-level reset.
    DeviceReset = 13,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Version,
        Self::DmaMap,
        Self::DmaUnmap,
        Self::DeviceInfo,
        Self::RegionInfo,
        Self::InterruptInfo,
        Self::SetInterrupts,
        Self::RegionRead,
        Self::RegionWrite,
        Self::DmaRead,
        Self::DmaWrite,
        Self::DeviceReset,
    ];

    /// The command of that number, if we know it.
    #[must_use]
    pub fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|command| *command as u16 == number)
    }
}

/// Kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks for something, and for a reply.
    Command,
    /// Asks for something, and for no reply.
    Quiet,
    /// Answers.
    Reply,
    /// Answers that it was not done, and the system's error number.
    Refusal(u32),
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by who asks; the reply repeats it.
    pub id: u16,
    /// Number of the command, known or not.
    pub command: u16,
    /// Length of the message in bytes, with the header.
    pub bytes: u32,
    /// Kind.
    pub kind: Kind,
}

/// Why sixteen bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A message is never shorter than its header, and ours never longer than a bound.
    #[error("message of {0} bytes")]
    Length(u32),
    /// Flags that mean nothing.
    #[error("message flags {0:#x}")]
    Flags(u32),
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let (flags, error) = match self.kind {
            Kind::Command => (0, 0),
            Kind::Quiet => (NO_REPLY, 0),
            Kind::Reply => (TYPE_REPLY, 0),
            Kind::Refusal(error) => (TYPE_REPLY | ERROR, error),
        };
        let first = u32::from(self.command) << 16 | u32::from(self.id);
        super::words([first, self.bytes, flags, error])
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`HeaderError`] when no message can begin so.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        let [id_low, id_high, command_low, command_high, ..] = *bytes;
        let length = super::word32(bytes, 4);
        let flags = super::word32(bytes, 8);
        if !(HEADER_BYTES..=super::MESSAGE_MAX).contains(&(length as usize)) {
            return Err(HeaderError::Length(length));
        }
        let kind = match (flags & TYPE_MASK, flags & !TYPE_MASK) {
            (0, 0) => Kind::Command,
            (0, NO_REPLY) => Kind::Quiet,
            (TYPE_REPLY, 0) => Kind::Reply,
            (TYPE_REPLY, ERROR) => Kind::Refusal(super::word32(bytes, 12)),
            _ => return Err(HeaderError::Flags(flags)),
        };
        Ok(Self {
            id: u16::from_le_bytes([id_low, id_high]),
            command: u16::from_le_bytes([command_low, command_high]),
            bytes: length,
            kind,
        })
    }
}

//! Register map of BAR 0 (`docs/nic-abi.md` §3): 32-bit words, little-endian, no read has a side
//! effect.

/// Who writes a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The card writes, the host reads.
    Card,
    /// The host writes, the card reads; a reset sets it to 0 unless §2.3 says otherwise.
    Host,
}

/// A register or the first of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Name in the document.
    pub name: &'static str,
    /// Byte offset in the BAR, or in its array element.
    pub offset: u32,
    /// Bytes: 4 or 8.
    pub bytes: u32,
    /// Who writes it.
    pub access: Access,
}

const fn card(name: &'static str, offset: u32, bytes: u32) -> Register {
    Register { name, offset, bytes, access: Access::Card }
}

const fn host(name: &'static str, offset: u32, bytes: u32) -> Register {
    Register { name, offset, bytes, access: Access::Host }
}

/// Bytes of BAR 0 (§3.1).
pub const BAR_BYTES: u32 = 0x1_0000;
/// Value of [`IDENTITY`]: the bytes `TWIN`.
pub const IDENTITY_VALUE: u32 = 0x4e49_5754;

/// §3.2 Identity of the card.
pub const IDENTITY: Register = card("IDENTITY", 0x0000, 4);
/// §3.2 Version of the contract.
pub const VERSION: Register = card("VERSION", 0x0004, 4);
/// §3.2 Status bits, [`status`].
pub const STATUS: Register = card("STATUS", 0x0008, 4);
/// §3.2 Cause of the last fault, 0 for none.
pub const SYNDROME: Register = card("SYNDROME", 0x000c, 4);
/// §3.2 Heartbeat: the card's clock in milliseconds, modulo 2^32.
pub const HEARTBEAT: Register = card("HEARTBEAT", 0x0010, 4);
/// §3.2 Count of resets.
pub const EPOCH: Register = card("EPOCH", 0x0014, 4);
/// §3.2 Last reset request carried out.
pub const RESET_DONE: Register = card("RESET_DONE", 0x0018, 4);
/// §3.2 Current generation.
pub const GENERATION: Register = card("GENERATION", 0x001c, 4);
/// §3.2 The card's clock in nanoseconds.
pub const CLOCK: Register = card("CLOCK", 0x0020, 8);
/// §3.3 A reset is asked for by a value that differs from [`RESET_DONE`].
pub const RESET_REQUEST: Register = host("RESET_REQUEST", 0x0040, 4);
/// §3.3 Control bits, [`control`].
pub const CONTROL: Register = host("CONTROL", 0x0044, 4);
/// §3.3 About one in so many decided frames is mirrored; 0 for none.
pub const MIRROR_SAMPLE: Register = host("MIRROR_SAMPLE", 0x0048, 4);
/// §3.4 Address of the command ring.
pub const COMMAND_BASE: Register = host("COMMAND_BASE", 0x0080, 8);
/// §3.4 Binary logarithm of its number of descriptors.
pub const COMMAND_SIZE_LOG2: Register = host("COMMAND_SIZE_LOG2", 0x0088, 4);
/// §3.4 Doorbell: commands written so far, modulo 2^32.
pub const COMMAND_PRODUCER: Register = host("COMMAND_PRODUCER", 0x008c, 4);
/// §3.4 Commands fetched so far, modulo 2^32.
pub const COMMAND_CONSUMER: Register = card("COMMAND_CONSUMER", 0x0090, 4);
/// §3.4 Address of the completion ring.
pub const COMPLETION_BASE: Register = host("COMPLETION_BASE", 0x00a0, 8);
/// §3.4 Binary logarithm of its number of completions.
pub const COMPLETION_SIZE_LOG2: Register = host("COMPLETION_SIZE_LOG2", 0x00a8, 4);
/// §3.4 Completions taken so far, modulo 2^32.
pub const COMPLETION_CONSUMER: Register = host("COMPLETION_CONSUMER", 0x00ac, 4);
/// §3.5 Window: commands submitted so far, modulo 2^32.
pub const WINDOW_SUBMIT: Register = host("WINDOW_SUBMIT", 0x00c0, 4);
/// §3.5 Window: commands answered so far, modulo 2^32.
pub const WINDOW_DONE: Register = card("WINDOW_DONE", 0x00c4, 4);

/// §4 The capability block.
pub const CAPABILITY: u32 = 0x0400;
/// §3.5 The window's command descriptor, 64 bytes.
pub const WINDOW_COMMAND: u32 = 0x1000;
/// §3.5 The window's image, 256 bytes, in both directions.
pub const WINDOW_IMAGE: u32 = 0x1100;
/// §3.5 The window's completion, 128 bytes.
pub const WINDOW_COMPLETION: u32 = 0x1200;

/// §3.6 Registers of physical port 0; the next port's follow at [`PORT_STRIDE`].
pub const PORT_ARRAY: u32 = 0x2000;
/// §3.6 Bytes from one port's registers to the next.
pub const PORT_STRIDE: u32 = 0x80;
/// §3.7 Registers of queue 0; the next queue's follow at [`QUEUE_STRIDE`].
pub const QUEUE_ARRAY: u32 = 0x4000;
/// §3.7 Bytes from one queue's registers to the next.
pub const QUEUE_STRIDE: u32 = 0x80;
/// §1.2 Most physical ports.
pub const PORTS_MAX: usize = 64;
/// §1.2 Most queues.
pub const QUEUES_MAX: usize = 16;

/// Bits of [`STATUS`] (§3.2).
pub mod status {
    /// The card is up and takes commands.
    pub const READY: u32 = 1;
    /// Every packet goes to the host.
    pub const BYPASS: u32 = 2;
    /// A fault stopped rings or tables; the syndrome says which.
    pub const FAULT: u32 = 4;
    /// The card asks for a reset.
    pub const RESET_WANTED: u32 = 8;
}

/// Bits of [`CONTROL`] (§3.3).
pub mod control {
    /// Rings are read; the ring registers must be valid before.
    pub const RINGS: u32 = 1;
    /// Tables are matched; clear: bypass.
    pub const TABLES: u32 = 2;
}

/// Values of [`SYNDROME`] (§3.8).
pub mod syndrome {
    /// No fault.
    pub const NONE: u32 = 0;
    /// A ring register is out of its limits.
    pub const RING: u32 = 1;
    /// A ring's memory could not be reached.
    pub const DMA: u32 = 2;
    /// A producer index ran more than a ring ahead.
    pub const INDEX: u32 = 3;
}

/// Registers of a physical port, relative to its array element (§3.6).
pub mod port {
    use super::{Register, card};

    /// 1 when the link is up.
    pub const LINK: Register = card("LINK", 0x00, 4);
    /// 1 when enabled by SET_PORT.
    pub const ENABLED: Register = card("ENABLED", 0x04, 4);
    /// Longest frame received.
    pub const MTU_IN: Register = card("MTU_IN", 0x08, 4);
    /// Longest frame sent.
    pub const MTU_OUT: Register = card("MTU_OUT", 0x0c, 4);
    /// Frames received, drops by the card included.
    pub const RX_PACKETS: Register = card("RX_PACKETS", 0x10, 8);
    /// Their bytes.
    pub const RX_BYTES: Register = card("RX_BYTES", 0x18, 8);
    /// Frames sent.
    pub const TX_PACKETS: Register = card("TX_PACKETS", 0x20, 8);
    /// Their bytes.
    pub const TX_BYTES: Register = card("TX_BYTES", 0x28, 8);
    /// Received frames longer than MTU_IN, dropped.
    pub const RX_TOO_LONG: Register = card("RX_TOO_LONG", 0x30, 8);
    /// Received frames dropped because the host's ring was full.
    pub const RX_OVERRUN: Register = card("RX_OVERRUN", 0x38, 8);
    /// Received frames dropped at the entrance: port disabled, or its queue was full.
    pub const RX_REFUSED: Register = card("RX_REFUSED", 0x40, 8);
    /// Frames to send longer than MTU_OUT, dropped.
    pub const TX_TOO_LONG: Register = card("TX_TOO_LONG", 0x48, 8);
    /// Frames to send dropped because the port's queue was full or the port disabled.
    pub const TX_OVERRUN: Register = card("TX_OVERRUN", 0x50, 8);
    /// Received frames the card decided alone, drops by an entry included.
    pub const DECIDED: Register = card("DECIDED", 0x58, 8);
    /// Received frames handed to the host's rings, misses and exceptions.
    pub const MISSED: Register = card("MISSED", 0x60, 8);
    /// All registers of a port.
    pub const ALL: [Register; 15] = [
        LINK,
        ENABLED,
        MTU_IN,
        MTU_OUT,
        RX_PACKETS,
        RX_BYTES,
        TX_PACKETS,
        TX_BYTES,
        RX_TOO_LONG,
        RX_OVERRUN,
        RX_REFUSED,
        TX_TOO_LONG,
        TX_OVERRUN,
        DECIDED,
        MISSED,
    ];
}

/// Registers of a queue pair, relative to its array element (§3.7).
pub mod queue {
    use super::{Register, card, host};

    /// Address of the receive descriptors.
    pub const RX_BASE: Register = host("RX_BASE", 0x00, 8);
    /// Address of the receive buffers: slot n's is at `RX_BUFFERS + n * RX_STRIDE`.
    pub const RX_BUFFERS: Register = host("RX_BUFFERS", 0x08, 8);
    /// Binary logarithm of the number of receive slots.
    pub const RX_SIZE_LOG2: Register = host("RX_SIZE_LOG2", 0x10, 4);
    /// Bytes of a receive buffer, a multiple of 64.
    pub const RX_STRIDE: Register = host("RX_STRIDE", 0x14, 4);
    /// Doorbell: received frames taken so far, modulo 2^32.
    pub const RX_CONSUMER: Register = host("RX_CONSUMER", 0x18, 4);
    /// Frames delivered so far, modulo 2^32.
    pub const RX_PRODUCER: Register = card("RX_PRODUCER", 0x1c, 4);
    /// Address of the transmit descriptors.
    pub const TX_BASE: Register = host("TX_BASE", 0x20, 8);
    /// Binary logarithm of the number of transmit descriptors.
    pub const TX_SIZE_LOG2: Register = host("TX_SIZE_LOG2", 0x28, 4);
    /// Doorbell: frames given so far, modulo 2^32.
    pub const TX_PRODUCER: Register = host("TX_PRODUCER", 0x2c, 4);
    /// Frames fetched and put into port queues so far, modulo 2^32.
    pub const TX_CONSUMER: Register = card("TX_CONSUMER", 0x30, 4);
    /// 1: the queue is in use. Valid together with `control::RINGS`.
    pub const ENABLE: Register = host("ENABLE", 0x34, 4);
    /// Transmit descriptors that named no port, no memory or no sane length.
    pub const TX_BAD: Register = card("TX_BAD", 0x38, 4);
    /// All registers of a queue.
    pub const ALL: [Register; 12] = [
        RX_BASE,
        RX_BUFFERS,
        RX_SIZE_LOG2,
        RX_STRIDE,
        RX_CONSUMER,
        RX_PRODUCER,
        TX_BASE,
        TX_SIZE_LOG2,
        TX_PRODUCER,
        TX_CONSUMER,
        ENABLE,
        TX_BAD,
    ];
}

/// All registers that are not in an array.
pub const GLOBAL: [Register; 21] = [
    IDENTITY,
    VERSION,
    STATUS,
    SYNDROME,
    HEARTBEAT,
    EPOCH,
    RESET_DONE,
    GENERATION,
    CLOCK,
    RESET_REQUEST,
    CONTROL,
    MIRROR_SAMPLE,
    COMMAND_BASE,
    COMMAND_SIZE_LOG2,
    COMMAND_PRODUCER,
    COMMAND_CONSUMER,
    COMPLETION_BASE,
    COMPLETION_SIZE_LOG2,
    COMPLETION_CONSUMER,
    WINDOW_SUBMIT,
    WINDOW_DONE,
];

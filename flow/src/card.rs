//! The words host and card driver speak: capabilities, operations, completions.
//!
//! Everything is data. The trait that carries them, `SmartNic`, is in `host-driver`; who decides
//! is in `offload`.

use crate::counters::Counts;
use crate::edit::Edit;
use crate::field::Field;
use crate::key::{Line, MaskedKey};
use crate::port::PortNo;
use crate::time::Time;
use std::sync::Arc;

/// Identity of an entry, chosen by the host; never reused within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u32);

/// Names one submitted operation in its completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpTag(pub u64);

/// Count of resets of a card; counters and completions of an older epoch are stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Version of the wanted state; a packet takes the current one once, when it is parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

/// Index of a table in [`Capabilities::tables`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u8);

/// How a table matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// Exact match under one mask for all entries, set by [`FlowOp::SetMask`] while empty.
    Exact,
    /// Each entry has its own mask.
    Ternary,
}

/// What a card can do to a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionCaps {
    /// Fields a masked set can write; whole bytes unless the field is in `bit_fields`.
    pub set: Vec<Field>,
    /// Fields of `set` whose single bits can be written.
    pub bit_fields: Vec<Field>,
    /// TTL decrements in one flow, 0 when it cannot.
    pub ttl_decrements: u8,
    /// Received tags popped.
    pub pops: u8,
    /// Tags pushed.
    pub pushes: u8,
    /// Rewrites the outer tag in place.
    pub tci: bool,
    /// Sends a packet back out of the port it came in on.
    pub hairpin: bool,
    /// Physical ports one flow can send to, each at most once.
    pub outputs: u16,
    /// Tunnel ports one flow can send to.
    pub tunnel_outputs: u16,
}

/// A table of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCaps {
    /// Shown to people.
    pub name: String,
    /// Kind.
    pub kind: TableKind,
    /// Entries it can hold at most.
    pub capacity: u32,
    /// Key bits it can compare.
    pub fields: Line,
}

/// What a card can do, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name of the card.
    pub card: String,
    /// Number of physical ports.
    pub ports: u16,
    /// Tables in the order of precedence: a packet matching in several takes the lowest.
    pub tables: Vec<TableCaps>,
    /// Actions.
    pub actions: ActionCaps,
    /// Whether entries count packets and bytes.
    pub counters: bool,
    /// Oldest a swept counter can be.
    pub counter_staleness_ns: u64,
    /// Whether `Commit` makes a batch visible all at once.
    pub generations: bool,
    /// Frames a held entry keeps; 0 when the card cannot hold.
    pub hold_frames: u16,
    /// Receive and transmit queue pairs.
    pub queues: u16,
    /// Whether it can mirror samples of what it forwards, for the host to check.
    pub mirror: bool,
    /// Whether what it holds can be read back; else it is unverifiable.
    pub read_back: bool,
}

/// An entry as the host describes it to a driver, which makes words of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Identity.
    pub id: EntryId,
    /// Table.
    pub table: TableId,
    /// Match; for an exact table the mask is the table's.
    pub matching: MaskedKey,
    /// What to do.
    pub edit: Arc<Edit>,
    /// Packets at or below this TTL go to the host whole; see [`crate::steps::Flow`].
    pub ttl_threshold: Option<u8>,
    /// First generation it serves.
    pub from: Generation,
}

/// An operation on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowOp {
    /// Sets the mask of an exact table. Refused unless the table is empty.
    SetMask {
        /// Names the completion.
        tag: OpTag,
        /// Table.
        table: TableId,
        /// Mask; boxed, as operations are moved often and this one is rare.
        mask: Box<Line>,
    },
    /// Adds an entry. With `hold`, its packets wait in the card from now until `Release`.
    Add {
        /// Names the completion.
        tag: OpTag,
        /// Entry.
        entry: Box<Entry>,
        /// Whether to hold.
        hold: bool,
    },
    /// Replaces edit and threshold of an entry; the completion has the counts up to then.
    Modify {
        /// Names the completion.
        tag: OpTag,
        /// Entry.
        id: EntryId,
        /// New edit.
        edit: Arc<Edit>,
        /// New threshold.
        ttl_threshold: Option<u8>,
    },
    /// Takes an entry out. With `until`, it stops serving when that generation is committed and is
    /// gone then; the completion comes after that. Its final counts are in the completion.
    Delete {
        /// Names the completion.
        tag: OpTag,
        /// Entry.
        id: EntryId,
        /// First generation it no longer serves; `None`: now.
        until: Option<Generation>,
    },
    /// Makes a generation current.
    Commit {
        /// Names the completion.
        tag: OpTag,
        /// Generation.
        generation: Generation,
    },
    /// Sends the held packets of an entry and ends holding, after all frames the host put into
    /// the transmit rings before this operation.
    Release {
        /// Names the completion.
        tag: OpTag,
        /// Entry.
        id: EntryId,
    },
    /// Reads the next place of the card back, in turn, and compares it with what the driver put
    /// there. An entry that nobody put there is taken out.
    Inspect {
        /// Names the completion.
        tag: OpTag,
    },
}

impl FlowOp {
    /// The tag its completion will carry.
    #[must_use]
    pub const fn tag(&self) -> OpTag {
        match self {
            Self::SetMask { tag, .. }
            | Self::Add { tag, .. }
            | Self::Modify { tag, .. }
            | Self::Delete { tag, .. }
            | Self::Commit { tag, .. }
            | Self::Release { tag, .. }
            | Self::Inspect { tag } => *tag,
        }
    }
}

/// Why a card refused an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No place for the entry.
    #[error("table full")]
    TableFull,
    /// No such entry.
    #[error("no such entry")]
    NoEntry,
    /// The entry exists.
    #[error("entry exists")]
    Exists,
    /// The driver or card cannot express it.
    #[error("not supported by the card")]
    Unsupported,
    /// The hold queue overflowed: the install was cancelled, the entry is gone.
    #[error("hold queue overflow")]
    HoldOverflow,
    /// The card answered with an error code.
    #[error("card error code {0}")]
    Card(u16),
    /// No answer in time.
    #[error("no answer from the card in time")]
    Timeout,
    /// The card was reset or is dead; whether the operation was done is unknown.
    #[error("the card was reset")]
    Reset,
}

/// What a completed operation reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Final counts of the entry for `Delete` and `Modify`; `None` for others, or when the card
    /// does not count.
    pub counts: Option<Counts>,
    /// `Add` with hold and `Commit`: position in the receive queues of the last miss delivered before
    /// it. The host must have sent every miss up to there before `Release`, and decided it before it
    /// forgets the rules that the commit ended.
    pub fence: Option<Arc<Fence>>,
    /// `Inspect`: what the place holds.
    pub inspected: Option<Inspected>,
}

/// What a place of the card that was read back holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What was found.
    pub found: Found,
    /// Whether it was the last place: the next is the first one again.
    pub is_last: bool,
}

/// What a place holds, compared with what was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The same, or nothing as it should be.
    AsWritten,
    /// Not the entry that should be there.
    Missing(EntryId),
    /// That entry, with other words in it.
    Differs(EntryId),
    /// An entry where none should be. The driver takes it out.
    Orphan(EntryId),
}

/// Positions in the receive queues: frames delivered so far on each, by queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    /// Delivered frames per queue since bring-up; queues beyond the card's are 0.
    pub delivered: [u64; 16],
}

/// What a driver reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation ended.
    Done {
        /// Of the operation.
        tag: OpTag,
        /// Its outcome.
        result: Result<Done, Refusal>,
    },
    /// A port's link changed.
    Link {
        /// Port.
        port: PortNo,
        /// Whether it is up now.
        up: bool,
    },
    /// A held entry's queue overflowed after its `Add` was done: the install was cancelled, the
    /// entry is gone and its held frames came to the host as misses.
    HoldCancelled {
        /// Entry.
        id: EntryId,
    },
    /// A sweep of counters did not know the entry: the card does not hold it any more.
    Missing {
        /// Entry.
        id: EntryId,
    },
    /// The card is up, empty, in generation 0, with fresh queues to take: bring-up or a reset has
    /// succeeded.
    Up(Epoch),
    /// The card asks to be reset.
    ResetRequest,
    /// The card is gone or does not answer.
    Dead(DeathCause),
}

/// How a card was found dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DeathCause {
    /// Registers read all ones.
    #[error("registers read all ones")]
    AllOnes,
    /// The heartbeat stopped.
    #[error("heartbeat stopped")]
    Heartbeat,
    /// A command was not answered within its deadline.
    #[error("command deadline passed")]
    Deadline,
    /// The function was removed: unplugged, or taken away by the system.
    #[error("removed")]
    Removed,
    /// The card wrote something that no card would write.
    #[error("garbage in a ring")]
    Garbage,
}

/// State of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Bring-up or reset is under way; [`Event::Up`] or [`Event::Dead`] ends it.
    Starting,
    /// Alive.
    Good,
    /// Alive, everything goes to the host.
    Bypass,
    /// Dead.
    Dead(DeathCause),
}

/// Absolute counters of one entry since it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryCounts {
    /// Entry.
    pub id: EntryId,
    /// Counts.
    pub counts: Counts,
    /// When its last packet passed, to the card's granularity; `None` for none yet.
    pub last_hit: Option<Time>,
}

/// What a sweep of counters reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// When the counters were true.
    pub as_of: Time,
    /// Epoch they belong to.
    pub epoch: Epoch,
    /// Whether every entry was reported.
    pub complete: bool,
}

/// What a driver found in a card that went on forwarding while no driver was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// Generation current in the card.
    pub generation: Generation,
    /// Masks of exact tables that hold entries.
    pub masks: Vec<(TableId, Line)>,
    /// Entries that serve, to be claimed or disowned one by one.
    pub entries: Vec<Inherited>,
    /// Entries that leave with the next commit, as a former driver asked.
    pub leaving: usize,
    /// Entries that could not be told or still held packets: they are taken out.
    pub strays: usize,
}

/// An entry that a former driver has put into a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Identity.
    pub id: EntryId,
    /// Table.
    pub table: TableId,
    /// Match; for an exact table the mask is the table's.
    pub matching: MaskedKey,
    /// First generation it serves.
    pub from: Generation,
    /// Absolute counts since it was added.
    pub counts: Counts,
    /// When its last packet passed.
    pub last_hit: Option<Time>,
}

/// Takes the entries of a sweep.
pub trait CounterSink {
    /// A sweep begins, whose entries follow.
    fn begin(&mut self, now: Time, sweep: &Sweep);
    /// One entry.
    fn entry(&mut self, counts: &EntryCounts);
}

/// Why a received frame came to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No entry matched, or bypass: a miss.
    NoEntry,
    /// An entry matched but must not handle this packet (TTL, tunnel message): a miss.
    Exception,
    /// An entry sent it.
    ToHost,
    /// A copy of what passed through an entry, for verification; see [`RxMeta::mirror`].
    Mirror,
}

/// Why a frame was mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorOrder {
    /// One of many.
    Sampled,
    /// The first its entry decided.
    First,
    /// The next its entry decided after a mirrored one.
    Successor,
}

/// What a mirrored frame is in its sample: a frame sent, or at last the frame received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorPart {
    /// A frame that was sent out of a port.
    Sent(PortNo),
    /// The frame as received, which ends its sample.
    Received {
        /// Frames that were sent.
        sent: u8,
        /// Why.
        order: MirrorOrder,
        /// What the entry has counted, this frame included.
        counts: Counts,
    },
}

/// A mirrored frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// Number of its sample.
    pub sample: u32,
    /// What it is in it.
    pub part: MirrorPart,
}

/// What a received frame carries besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxMeta {
    /// Physical port it came in on.
    pub port: PortNo,
    /// Why it came.
    pub reason: Reason,
    /// Entry that sent it, for `ToHost` and `Mirror`.
    pub entry: Option<EntryId>,
    /// Generation current when the card parsed it.
    pub generation: Generation,
    /// When the card received it.
    pub time: Time,
    /// For [`Reason::Mirror`].
    pub mirror: Option<Mirrored>,
}

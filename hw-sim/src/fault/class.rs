//! The classes of faults, by name.

use std::str::FromStr;

/// Number of classes.
pub const CLASSES: usize = 31;

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// A command is carried out, its completion never comes.
    CompletionLost,
    /// A completion comes that many nanoseconds late; those behind it pass it.
    CompletionLate,
    /// A completion comes twice.
    CompletionDuplicated,
    /// A completion comes behind the next one, or 1 ms late if there is none.
    CompletionReordered,
    /// A completion for a tag that nobody gave comes before the right one.
    CompletionUnknownTag,
    /// A command is not carried out and ends with a status drawn at random.
    CommandStatus,
    /// A command is neither carried out nor answered.
    CommandTimeout,
    /// An ADD is refused (occupied) once the card holds that many entries.
    TableFull,
    /// An ADD is answered well, but the entry is not there.
    EntryIgnored,
    /// An entry survives a reset.
    EntryStale,
    /// An entry's words are found broken: it serves no more, its packets miss.
    EntryEcc,
    /// A record of a counter sweep is half of now and half of another time.
    SweepTorn,
    /// A counter jumps below 0 and goes on from there.
    CounterWrapped,
    /// A counter starts again from 0.
    CounterReset,
    /// An interrupt is not raised.
    InterruptLost,
    /// An interrupt is raised that announces nothing.
    InterruptSpurious,
    /// An interrupt is raised that many nanoseconds late.
    InterruptLate,
    /// A ring index of the card reads garbage, for that many nanoseconds.
    RingGarbage,
    /// The function is gone: every register reads all ones, nothing moves.
    Removed,
    /// The firmware hangs: heartbeat, registers, commands and rings stop, the tables go on.
    HeartbeatStopped,
    /// The card asks to be reset.
    ResetWanted,
    /// A reset is not carried out.
    ResetIgnored,
    /// A port's link is down, for that many nanoseconds.
    LinkDown,
    /// A frame for the host finds its ring full.
    ReceiveOverrun,
    /// A DMA write goes to the next slot instead of its own.
    DmaWrong,
    /// A DMA write faults.
    DmaUnmapped,
    /// A command takes that many nanoseconds more.
    CommandSlow,
    /// A command stops the packets' way for that many nanoseconds.
    UpdateCost,
    /// After a reset the card has half the places and cannot hold.
    CapabilitiesChanged,
    /// A frame that is to wait in a hold queue finds it full.
    HoldOverflow,
    /// The tables break: the card takes no notice of TABLES, every packet goes to the host.
    EngineDead,
}

/// What one chance of a class is, of which a rate takes one in so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// A completion in the ring, events too.
    Completion,
    /// A command that is carried out.
    Command,
    /// An ADD that would succeed.
    Add,
    /// A record of a sweep that belongs to an entry.
    Record,
    /// An interrupt.
    Interrupt,
    /// A millisecond of the card's clock.
    Millisecond,
    /// A frame for the host.
    Frame,
    /// A record that the card writes by DMA: completion or received frame.
    Dma,
    /// A frame that meets a held entry.
    Held,
    /// A reset; of a stale entry: an entry in the card at a reset.
    Reset,
}

/// No class is called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault {0:?}: see `twinpath sim fault list`")]
pub struct UnknownClass(pub String);

/// A class with all that is fixed about it.
struct Row {
    class: Class,
    name: &'static str,
    chance: Chance,
    /// Value of [`Class::default_amount`].
    amount: u64,
    /// Whether the amount is a time.
    timed: bool,
    what: &'static str,
}

const MS: u64 = 1_000_000;

const fn row(
    class: Class,
    name: &'static str,
    chance: Chance,
    (amount, timed): (u64, bool),
    what: &'static str,
) -> Row {
    Row { class, name, chance, amount, timed, what }
}

/// No amount.
const PLAIN: (u64, bool) = (0, false);

/// All classes, in the order of their numbers.
const ROWS: [Row; CLASSES] = {
    use Chance as C;
    use Class as F;
    [
        row(F::CompletionLost, "completion-lost", C::Completion, PLAIN, "never comes"),
        row(
            F::CompletionLate,
            "completion-late",
            C::Completion,
            (5 * MS, true),
            "comes AMOUNT late",
        ),
        row(F::CompletionDuplicated, "completion-duplicated", C::Completion, PLAIN, "comes twice"),
        row(
            F::CompletionReordered,
            "completion-reordered",
            C::Completion,
            (MS, true),
            "comes behind the next, AMOUNT late at most",
        ),
        row(
            F::CompletionUnknownTag,
            "completion-unknown-tag",
            C::Completion,
            PLAIN,
            "another comes before it, of a tag nobody gave",
        ),
        row(F::CommandStatus, "command-status", C::Command, PLAIN, "fails with a random status"),
        row(F::CommandTimeout, "command-timeout", C::Command, PLAIN, "not done, not answered"),
        row(F::TableFull, "table-full", C::Add, PLAIN, "refused from AMOUNT entries on"),
        row(F::EntryIgnored, "entry-ignored", C::Add, PLAIN, "answered, but not there"),
        row(F::EntryStale, "entry-stale", C::Reset, PLAIN, "an entry survives the reset"),
        row(F::EntryEcc, "entry-ecc", C::Millisecond, PLAIN, "an entry breaks, packets miss"),
        row(F::SweepTorn, "sweep-torn", C::Record, PLAIN, "half of now, half of another time"),
        row(F::CounterWrapped, "counter-wrapped", C::Record, PLAIN, "counter jumps below 0"),
        row(F::CounterReset, "counter-reset", C::Record, PLAIN, "counter starts from 0 again"),
        row(F::InterruptLost, "interrupt-lost", C::Interrupt, PLAIN, "not raised"),
        row(
            F::InterruptSpurious,
            "interrupt-spurious",
            C::Millisecond,
            PLAIN,
            "raised for nothing",
        ),
        row(F::InterruptLate, "interrupt-late", C::Interrupt, (2 * MS, true), "raised AMOUNT late"),
        row(
            F::RingGarbage,
            "ring-garbage",
            C::Millisecond,
            (MS, true),
            "a ring index reads garbage for AMOUNT",
        ),
        row(
            F::Removed,
            "removed",
            C::Millisecond,
            (200 * MS, true),
            "registers read all ones for AMOUNT",
        ),
        row(
            F::HeartbeatStopped,
            "heartbeat-stopped",
            C::Millisecond,
            (50 * MS, true),
            "firmware hangs for AMOUNT or until a reset",
        ),
        row(F::ResetWanted, "reset-wanted", C::Millisecond, PLAIN, "the card asks for a reset"),
        row(F::ResetIgnored, "reset-ignored", C::Reset, PLAIN, "the reset is not carried out"),
        row(
            F::LinkDown,
            "link-down",
            C::Millisecond,
            (10 * MS, true),
            "a port's link is down for AMOUNT",
        ),
        row(F::ReceiveOverrun, "receive-overrun", C::Frame, PLAIN, "finds the ring full"),
        row(F::DmaWrong, "dma-wrong", C::Dma, PLAIN, "goes to the next slot"),
        row(F::DmaUnmapped, "dma-unmapped", C::Dma, PLAIN, "faults, the card stops its rings"),
        row(F::CommandSlow, "command-slow", C::Command, (MS, true), "takes AMOUNT longer"),
        row(
            F::UpdateCost,
            "update-cost",
            C::Command,
            (10_000, true),
            "stops the packets' way for AMOUNT",
        ),
        row(
            F::CapabilitiesChanged,
            "capabilities-changed",
            C::Reset,
            PLAIN,
            "half the places, no hold",
        ),
        row(F::HoldOverflow, "hold-overflow", C::Held, PLAIN, "finds the hold queue full"),
        row(
            F::EngineDead,
            "engine-dead",
            C::Millisecond,
            (100 * MS, true),
            "tables broken for AMOUNT: bypass",
        ),
    ]
};

impl Class {
    /// All classes.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.class)
    }

    /// Position in [`Class::all`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    const fn row(self) -> &'static Row {
        &ROWS[self.index()]
    }

    /// Name in commands and configurations, as `completion-lost`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What is one chance of it.
    #[must_use]
    pub const fn chance(self) -> Chance {
        self.row().chance
    }

    /// Amount (see the class) when none is given: nanoseconds or entries.
    #[must_use]
    pub const fn default_amount(self) -> u64 {
        self.row().amount
    }

    /// Whether the amount is a time.
    #[must_use]
    pub const fn is_timed(self) -> bool {
        self.row().timed
    }

    /// What happens, in a few words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        self.row().what
    }

    /// Whether it is a state of the card that lasts, entered at a time, not something that
    /// happens to one operation.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(
            self,
            Self::RingGarbage
                | Self::Removed
                | Self::HeartbeatStopped
                | Self::LinkDown
                | Self::EngineDead
        )
    }
}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        let row = ROWS.iter().find(|row| row.name == name);
        row.map(|row| row.class).ok_or_else(|| UnknownClass(name.to_owned()))
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Chance {
    /// In a few words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Command => "command",
            Self::Add => "ADD",
            Self::Record => "swept record",
            Self::Interrupt => "interrupt",
            Self::Millisecond => "millisecond",
            Self::Frame => "frame to the host",
            Self::Dma => "DMA record",
            Self::Held => "held frame",
            Self::Reset => "reset",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_row_and_its_name_back() {
        for (index, class) in Class::all().enumerate() {
            assert_eq!(class.index(), index);
            assert_eq!(class.name().parse(), Ok(class));
        }
    }
}

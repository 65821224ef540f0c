//! Bugs planted on purpose, in builds with `--cfg sabotage` only: they prove that the seeded world
//! finds such bugs (`./check sabotage`). Each strikes seldom, by a seeded draw.

use std::cell::Cell;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A held entry is released before software has sent its earlier packets.
    SkipHold,
    /// A completion is taken and its operation never ends.
    DropCompletion,
    /// A change of rules is called in force without a commit in the card.
    ForgetCommit,
    /// What an entry counted last is counted twice when its flow moves back into software.
    DoubleCount,
    /// An entry is forgotten without being taken out of the card.
    LeakEntry,
    /// The last counter of a card that is full is not read.
    OffByOne,
    /// A flow whose mask is too narrow under the next rules is kept.
    StaleMask,
    /// A flow that ends stays in the table that leads to it.
    MissingUnmap,
    /// A checksum is brought up to date by one too much.
    ChecksumDelta,
    /// The card is not told of new commands.
    LostWakeup,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::SkipHold,
        Self::DropCompletion,
        Self::ForgetCommit,
        Self::DoubleCount,
        Self::LeakEntry,
        Self::OffByOne,
        Self::StaleMask,
        Self::MissingUnmap,
        Self::ChecksumDelta,
        Self::LostWakeup,
    ];
}

/// One operation in so many is struck.
const ONE_IN: u64 = 256;

/// How often a planted bug could have struck, and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strikes {
    /// Operations it touches.
    pub operations: u64,
    /// Of those, spoilt.
    pub struck: u64,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    static DRAWS: Cell<u64> = const { Cell::new(0) };
    static STRIKES: Cell<Strikes> = const { Cell::new(Strikes { operations: 0, struck: 0 }) };
}

/// Plants a bug in this thread, or none; counts begin anew.
pub fn plant(bug: Option<Bug>, seed: u64) {
    PLANTED.set(bug);
    DRAWS.set(seed);
    STRIKES.set(Strikes::default());
}

/// Counts since the last [`plant`].
#[must_use]
pub fn strikes() -> Strikes {
    STRIKES.get()
}

/// Whether the bug strikes at this operation.
#[must_use]
pub fn strikes_at(bug: Bug) -> bool {
    touches(bug);
    strikes_one_in(bug, ONE_IN)
}

/// Counts an operation that the bug touches.
pub fn touches(bug: Bug) {
    if PLANTED.get() == Some(bug) {
        let Strikes { operations, struck } = STRIKES.get();
        STRIKES.set(Strikes { operations: operations + 1, struck });
    }
}

/// Whether the bug strikes, where only few of the operations that it touches can be spoilt.
#[must_use]
pub fn strikes_one_in(bug: Bug, one_in: u64) -> bool {
    if PLANTED.get() != Some(bug) {
        return false;
    }
    let mut random = crate::sample::Random::new(DRAWS.get());
    let draw = random.next();
    DRAWS.set(draw);
    let is_struck = draw.is_multiple_of(one_in);
    let Strikes { operations, struck } = STRIKES.get();
    STRIKES.set(Strikes { operations, struck: struck + u64::from(is_struck) });
    is_struck
}

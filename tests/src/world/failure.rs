//! What a world can find wrong.

/// What was wrong, in a word: a smaller world must fail in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Wrong {
    /// The product ended by a panic.
    #[error("panic")]
    Panic,
    /// A frame left that the rules of no generation in question ask for.
    #[error("stray frame")]
    Stray,
    /// Packets of one input port met new rules, then old ones.
    #[error("new rules, then old ones")]
    Generations,
    /// Packets of one stream left in another order than they came.
    #[error("reordered")]
    Reordered,
    /// A frame is missing and no counter says so.
    #[error("lost without a count")]
    Lost,
    /// Counters do not add up, or went backwards.
    #[error("counters")]
    Counters,
    /// What the card holds is not what the ledger says.
    #[error("ledger")]
    Ledger,
    /// A flow does not say where it is and why.
    #[error("place")]
    Place,
    /// Something under way does not end.
    #[error("stuck")]
    Stuck,
    /// Samples of what the card forwarded differ from the rules.
    #[error("divergence")]
    Divergence,
    /// It grew and grew.
    #[error("growth")]
    Growth,
}

/// A failed check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}: {told}")]
pub struct Failure {
    /// What kind of thing.
    pub wrong: Wrong,
    /// The facts.
    pub told: String,
}

impl Wrong {
    /// A failure of this kind.
    #[must_use]
    pub fn because(self, told: impl Into<String>) -> Failure {
        Failure { wrong: self, told: told.into() }
    }
}

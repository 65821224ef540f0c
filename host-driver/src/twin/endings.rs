//! How many DELETEs a COMMIT ends: the card refuses one when it knows of another number, so that an entry
//! whose DELETE it left out does not serve under the next rules (`docs/nic-abi.md` §9.8).

use twinpath_abi::completion::Status;
use twinpath_flow::card::Generation;

/// DELETEs that wait for a generation, since the last COMMIT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endings {
    /// `None` while some may be a former driver's.
    count: Option<u32>,
    /// What the last COMMIT made current.
    committed: Generation,
}

impl Endings {
    /// Of a card that was reset: none.
    pub(super) const NONE: Self = Self { count: Some(0), committed: Generation(0) };

    /// Of a card that is taken over: unknown until the next COMMIT.
    pub(super) const INHERITED: Self = Self { count: None, committed: Generation(0) };

    /// A DELETE was issued.
    pub(super) const fn deleted(&mut self) {
        if let Some(count) = &mut self.count {
            *count += 1;
        }
    }

    /// The card refused a DELETE; before the COMMIT it is not one of those that end with it. One
    /// whose entry is not there counts all the same.
    pub(super) fn refused(&mut self, until: Generation, status: Status) {
        let counts = matches!(status, Status::NoEntry | Status::HoldOverflow);
        if !counts && until > self.committed {
            self.count = self.count.map(|count| count.saturating_sub(1));
        }
    }

    /// A COMMIT is issued: what it says of their number.
    pub(super) const fn commit(&mut self, generation: Generation) -> Option<u32> {
        self.committed = generation;
        self.count.replace(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Endings;
    use twinpath_abi::completion::Status;
    use twinpath_flow::card::Generation;

    #[test]
    fn refused_deletes_do_not_count_unless_their_entry_was_gone() {
        let mut endings = Endings::NONE;
        for _ in 0..3 {
            endings.deleted();
        }
        endings.refused(Generation(1), Status::BadCommand);
        endings.refused(Generation(1), Status::NoEntry);
        assert_eq!(endings.commit(Generation(1)), Some(2));
        endings.refused(Generation(1), Status::BadCommand);
        assert_eq!(endings.commit(Generation(2)), Some(0), "those of an earlier commit");
    }

    #[test]
    fn nothing_is_said_of_a_former_drivers_deletes() {
        let mut endings = Endings::INHERITED;
        endings.deleted();
        assert_eq!(endings.commit(Generation(1)), None);
        endings.deleted();
        assert_eq!(endings.commit(Generation(2)), Some(1));
    }
}

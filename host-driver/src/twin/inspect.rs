//! Reading the card back (`docs/nic-abi.md` §9.13): does each place hold what was put there?
//!
//! Commands take effect in ring order, so a place is compared with who has it when all commands given
//! before the reading are done. An image is known again by a digest: a host has no room for a
//! second copy of every entry.

use super::Active;
use super::commands::{Patience, Place, Work};
use super::roster::Life;
use twinpath_abi::bus::Bus;
use twinpath_abi::command::{Command, EntryRef};
use twinpath_abi::completion::Status;
use twinpath_abi::entry::ENTRY_BYTES;
use twinpath_flow::card::{EntryId, Found, Inspected, OpTag};
use twinpath_flow::time::Time;

/// A digest of an image, neither 0 nor [`LEAVING`].
pub(super) fn digest(image: &[u8; ENTRY_BYTES]) -> u32 {
    let mix =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    // Four chains, none of which waits for another.
    let mut chains = [1, 2, 3, 4];
    for words in image.as_chunks::<32>().0 {
        for (chain, word) in chains.iter_mut().zip(words.as_chunks::<8>().0) {
            *chain = mix(*chain, u64::from_le_bytes(*word));
        }
    }
    let wide = chains.into_iter().fold(1, mix);
    u32::try_from(wide >> 32).expect("half of it").clamp(1, LEAVING - 1)
}

impl<B: Bus> Active<B> {
    /// Asks for the next place.
    pub(super) fn inspect(&mut self, bus: &B, op: OpTag, until: Patience) {
        let (table, number) = self.inspected;
        let places = self.tables.places(table).unwrap_or(0);
        let next = if number + 1 < places { (table, number + 1) } else { (table + 1, 0) };
        let is_last = self.tables.places(next.0).is_none();
        self.inspected = if is_last { (0, 0) } else { next };
        let occupant = self.tables.occupant(table, number);
        let record = occupant.and_then(|index| self.roster.record(index));
        // Who is leaving has changed its image, and may be gone.
        let is_settled = record.is_none_or(|record| record.life != Life::Leaving);
        let expected = record.map(|record| (record.id, record.digest));
        let image = self.commands.image(bus, &[]);
        let command = Command::ReadEntry { table, place: number, image: image.operand };
        let place = Place { table, number, expected, is_last };
        let work = if is_settled {
            Work::Inspect { op, place, image: image.number }
        } else {
            let expected = expected.map(|(id, _)| (id, LEAVING));
            Work::Inspect { op, place: Place { expected, ..place }, image: image.number }
        };
        self.commands.issue(bus, &command, (work, Some(image)), until);
    }

    /// Compares what the card answered; an orphan is taken out.
    pub(super) fn compare(
        &mut self,
        bus: &B,
        (place, image): (Place, u32),
        (status, id): (Status, EntryId),
        watched: Time,
    ) -> Inspected {
        let there = (status == Status::Done).then_some(id);
        let found = match (place.expected, there) {
            (Some((_, LEAVING)), _) | (None, None) => Found::AsWritten,
            // Its words cannot be read: they are broken.
            (Some((wanted, _)), None) if status == Status::BadImage => Found::Differs(wanted),
            (Some((wanted, _)), None) => Found::Missing(wanted),
            (Some((wanted, _)), Some(id)) if id != wanted => {
                self.purge(bus, &place, id, watched);
                Found::Missing(wanted)
            }
            (Some((wanted, known)), Some(_)) => {
                let same = known == 0 || digest(&self.commands.read_image(bus, image)) == known;
                if same { Found::AsWritten } else { Found::Differs(wanted) }
            }
            (None, Some(id)) => {
                self.purge(bus, &place, id, watched);
                Found::Orphan(id)
            }
        };
        Inspected { found, is_last: place.is_last }
    }

    /// Takes an entry out that nobody put there; when the ring is full the next round does it.
    fn purge(&mut self, bus: &B, place: &Place, id: EntryId, watched: Time) {
        if !self.has_room() {
            return;
        }
        let at = EntryRef { table: place.table, place: place.number, id: id.0 };
        let until = Patience::Prompt(watched.after(self.patience));
        self.commands.issue(bus, &Command::Delete { at, until: None }, (Work::Purge, None), until);
        self.commands.publish(bus);
    }
}

/// Stands for the digest of an entry on its way out: whatever is found is right.
const LEAVING: u32 = u32::MAX;

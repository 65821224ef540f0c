//! A table's places: raw entry words, 32 of 64 bits each (`docs/nic-abi.md` §6.1, §7.1).

use twinpath_abi::capability::Bank;
use twinpath_abi::entry::{ENTRY_BYTES, field};
use twinpath_abi::hash;
use twinpath_abi::key::KeyBytes;

/// Words of an entry.
pub(crate) const WORDS: usize = ENTRY_BYTES / 8;
/// Words of a key.
pub(crate) const KEY_WORDS: usize = 8;

/// A key as words, byte 8i the least significant of word i.
pub(crate) type KeyWords = [u64; KEY_WORDS];

/// Whether a place holds an entry, and how its packets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    #[default]
    Empty,
    Direct,
    Held,
    /// Its words are broken: it serves nobody.
    Broken,
}

impl State {
    const fn serves(self) -> bool {
        matches!(self, Self::Direct | Self::Held)
    }
}

/// How a table matches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Exact(Bank),
    Ternary,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    kind: Kind,
    mask: KeyWords,
    words: Vec<u64>,
    states: Vec<State>,
    used: u32,
    /// Entries in the stash, so that an empty one costs nothing.
    stashed: u32,
    /// One past the highest place ever used of a ternary table.
    high: u32,
}

pub(crate) fn key_words(key: &KeyBytes) -> KeyWords {
    let mut words = [0; KEY_WORDS];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

pub(crate) fn key_bytes(words: &KeyWords) -> KeyBytes {
    let mut key = [0; 64];
    for (bytes, word) in key.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    key
}

impl Table {
    pub(crate) fn new(kind: Kind, places: u32) -> Self {
        let places = places as usize;
        Self {
            kind,
            mask: [0; KEY_WORDS],
            words: vec![0; places * WORDS],
            states: vec![State::Empty; places],
            used: 0,
            stashed: 0,
            high: 0,
        }
    }

    /// Empties the table and clears its mask.
    pub(crate) fn reset(&mut self) {
        self.states.fill(State::Empty);
        self.mask = [0; KEY_WORDS];
        (self.used, self.stashed, self.high) = (0, 0, 0);
    }

    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.states.len()).expect("made from a u32")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Places taken.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn is_exact(&self) -> bool {
        matches!(self.kind, Kind::Exact(_))
    }

    pub(crate) fn set_mask(&mut self, mask: &KeyBytes) {
        self.mask = key_words(mask);
    }

    /// Whether no bit of the image's match value is outside its mask.
    pub(crate) fn match_is_inside(&self, image: &[u8; ENTRY_BYTES]) -> bool {
        let mask = match self.kind {
            Kind::Exact(_) => key_bytes(&self.mask),
            Kind::Ternary => *image[field::MASK..].first_chunk().expect("an image has four beats"),
        };
        image.iter().zip(mask).all(|(value, mask)| value & !mask == 0)
    }

    /// Whether the match value may live at the place (§6.1, §6.2).
    pub(crate) fn may_live(&self, value: &KeyBytes, place: u32) -> bool {
        let Kind::Exact(bank) = self.kind else {
            return true;
        };
        if place >= bank.slots * 4 {
            return true;
        }
        let way = place / bank.slots;
        hash::slot(hash::ways(value)[way as usize], bank.slots) == place % bank.slots
    }

    pub(crate) fn state(&self, place: u32) -> State {
        self.states[place as usize]
    }

    /// Fills, changes or empties a place.
    pub(crate) fn set_state(&mut self, place: u32, state: State) {
        let old = std::mem::replace(&mut self.states[place as usize], state);
        let stash = matches!(self.kind, Kind::Exact(bank) if place >= bank.slots * 4);
        match (old == State::Empty, state == State::Empty) {
            (true, false) => {
                self.used += 1;
                self.stashed += u32::from(stash);
                self.high = self.high.max(place + 1);
            }
            (false, true) => {
                self.used -= 1;
                self.stashed -= u32::from(stash);
            }
            _ => {}
        }
    }

    /// Places in a state, in order.
    pub(crate) fn places_in(&self, state: State) -> impl Iterator<Item = u32> {
        (0..).zip(&self.states).filter(move |(_, has)| **has == state).map(|(place, _)| place)
    }

    /// The mask of a bank.
    pub(crate) fn mask(&self) -> KeyWords {
        self.mask
    }

    /// Sets the mask of a bank again.
    pub(crate) fn keep_mask(&mut self, mask: KeyWords) {
        self.mask = mask;
    }

    /// The raw words of a place.
    pub(crate) fn entry(&self, place: u32) -> &[u64; WORDS] {
        let start = place as usize * WORDS;
        self.words[start..].first_chunk().expect("the place is in the table")
    }

    pub(crate) fn image(&self, place: u32) -> [u8; ENTRY_BYTES] {
        let mut image = [0; ENTRY_BYTES];
        for (bytes, word) in image.as_chunks_mut::<8>().0.iter_mut().zip(self.entry(place)) {
            *bytes = word.to_le_bytes();
        }
        image
    }

    pub(crate) fn write(&mut self, place: u32, image: &[u8; ENTRY_BYTES]) {
        let start = place as usize * WORDS;
        let words = &mut self.words[start..start + WORDS];
        for (word, bytes) in words.iter_mut().zip(image.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    /// The place of the entry that a packet of this key and generation meets (§6.3).
    pub(crate) fn lookup(&self, key: &KeyWords, generation: u32) -> Option<u32> {
        if self.used == 0 {
            return None;
        }
        match self.kind {
            Kind::Exact(bank) => self.lookup_exact(bank, key, generation),
            Kind::Ternary => (0..self.high).find(|place| {
                let entry = self.entry(*place);
                let differs = |i: usize| key[i] & entry[field::MASK / 8 + i] != entry[i];
                self.states[*place as usize].serves()
                    && !(0..KEY_WORDS).any(differs)
                    && serves(entry, generation)
            }),
        }
    }

    /// Every place whose entry the packet could meet, in the order of precedence.
    pub(crate) fn matching(&self, key: &KeyWords, generation: u32) -> Vec<u32> {
        let mask = |entry: &[u64; WORDS], word: usize| match self.kind {
            Kind::Exact(_) => self.mask[word],
            Kind::Ternary => entry[field::MASK / 8 + word],
        };
        let hits = |place: &u32| {
            let entry = self.entry(*place);
            self.states[*place as usize].serves()
                && (0..KEY_WORDS).all(|word| key[word] & mask(entry, word) == entry[word])
                && serves(entry, generation)
        };
        (0..self.places()).filter(hits).collect()
    }

    fn lookup_exact(&self, bank: Bank, key: &KeyWords, generation: u32) -> Option<u32> {
        let mut masked = *key;
        for (word, mask) in masked.iter_mut().zip(self.mask) {
            *word &= mask;
        }
        let hits = |place: u32| {
            let entry = self.entry(place);
            self.states[place as usize].serves()
                && entry[..KEY_WORDS] == masked
                && serves(entry, generation)
        };
        for (way, hash) in (0_u32..).zip(hash::ways(&key_bytes(&masked))) {
            let place = way * bank.slots + hash::slot(hash, bank.slots);
            if hits(place) {
                return Some(place);
            }
        }
        if self.stashed == 0 {
            return None;
        }
        (bank.slots * 4..self.places()).find(|place| hits(*place))
    }
}

/// The 32-bit number at a byte offset of an entry.
pub(crate) fn word32(entry: &[u64; WORDS], offset: usize) -> u32 {
    let shift = offset % 8 * 8;
    u32::try_from(entry[offset / 8] >> shift & 0xffff_ffff).expect("masked to 32 bits")
}

/// Whether the entry serves packets of the generation (§7.4).
fn serves(entry: &[u64; WORDS], generation: u32) -> bool {
    (word32(entry, field::FROM)..word32(entry, field::UNTIL)).contains(&generation)
        || word32(entry, field::UNTIL) == u32::MAX && word32(entry, field::FROM) <= generation
}

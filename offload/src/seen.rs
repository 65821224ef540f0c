//! Packets of a flow seen in software: how many lately, and the keys most of them have.
//!
//! Keys are kept in a space-saving table (Metwally, Agrawal, El Abbadi 2005): a key that is not in it
//! takes the place of the rarest and inherits its count, so that frequent keys are never missed.

use twinpath_flow::key::Key;

/// Keys remembered per flow.
const KEYS_MAX: usize = 8;

/// Sampled packets of one flow.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Round in which the last was seen.
    round: u32,
    /// Packets seen in that round.
    pub(crate) in_round: u32,
    /// Met a full table in that round.
    pub(crate) is_blocked: bool,
    /// Places promised to the flow by entries on their way out.
    pub(crate) promised: u16,
    /// All packets seen with a key to remember; halves each round, as the counts of keys do.
    total: u32,
    keys: Vec<(Key, u32)>,
}

impl Seen {
    /// Nothing seen yet.
    pub(crate) const fn new() -> Self {
        Self { round: 0, in_round: 0, is_blocked: false, promised: 0, total: 0, keys: Vec::new() }
    }

    /// Begins `round` if that is a new one.
    pub(crate) fn advance(&mut self, round: u32) {
        let rounds = round.saturating_sub(self.round);
        if rounds == 0 {
            return;
        }
        self.round = round;
        self.in_round = 0;
        self.is_blocked = false;
        let half = |count: u32| count.checked_shr(rounds).unwrap_or(0);
        self.total = half(self.total);
        self.keys.iter_mut().for_each(|(_, seen)| *seen = half(*seen));
        self.keys.retain(|(_, seen)| *seen > 0);
    }

    /// Remembers a packet that no entry serves; how often its key was seen lately.
    pub(crate) fn remember(&mut self, key: &Key) -> u32 {
        self.total = self.total.saturating_add(1);
        if let Some((_, seen)) = self.keys.iter_mut().find(|(known, _)| known == key) {
            *seen = seen.saturating_add(1);
            return *seen;
        }
        if self.keys.len() < KEYS_MAX {
            if self.keys.len() == self.keys.capacity() {
                // Most flows have one packet: memory for four would be for nobody.
                self.keys.reserve_exact(self.keys.len().max(1));
            }
            self.keys.push((*key, 1));
            return 1;
        }
        let rarest = self.keys.iter_mut().min_by_key(|(_, seen)| *seen);
        let (known, seen) = rarest.expect("the table is full");
        *known = *key;
        *seen = seen.saturating_add(1);
        *seen
    }

    /// Takes the keys out, the most frequent first.
    pub(crate) fn take_keys(&mut self) -> Vec<(Key, u32)> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_by_key(|(key, seen)| (std::cmp::Reverse(*seen), *key));
        keys
    }

    /// Puts back keys that are still not served.
    pub(crate) fn put_keys(&mut self, keys: Vec<(Key, u32)>) {
        self.keys = keys;
    }

    /// Forgets all keys: an entry serves the whole flow.
    pub(crate) fn forget_keys(&mut self) {
        self.keys = Vec::new();
        self.total = 0;
    }

    /// The part of `heat` that `key` stands for.
    pub(crate) fn share_of(&self, heat: u64, key: &Key) -> u64 {
        let seen = self.keys.iter().find(|(known, _)| known == key).map_or(1, |(_, seen)| *seen);
        self.share(heat, seen)
    }

    /// The part of `heat` that a key seen so often stands for.
    pub(crate) fn share(&self, heat: u64, seen: u32) -> u64 {
        let (seen, total) = (u64::from(seen), u64::from(self.total.max(seen)).max(1));
        heat / total * seen + heat % total * seen / total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::field::Field;

    fn key(number: u32) -> Key {
        Key::ZERO.with(Field::IpDst, number.into())
    }

    #[test]
    fn a_frequent_key_is_kept_among_many_rare_ones() {
        let mut seen = Seen::new();
        for packet in 0..1000 {
            seen.remember(&key(if packet % 4 == 0 { 7 } else { 1000 + packet }));
        }
        let keys = seen.take_keys();
        assert_eq!(keys.len(), KEYS_MAX);
        assert!(keys.iter().any(|(found, count)| *found == key(7) && *count >= 250));
    }

    #[test]
    fn counts_halve_each_round_and_shares_stay() {
        let mut seen = Seen::new();
        for packet in 0..8 {
            seen.remember(&key(packet % 2));
        }
        assert_eq!(seen.share(1000, 4), 500);
        seen.advance(2);
        assert_eq!(seen.take_keys(), [(key(0), 1), (key(1), 1)]);
        assert_eq!(seen.share(1000, 1), 500);
        seen.advance(200);
        assert_eq!(seen.share(1000, 0), 0);
    }
}

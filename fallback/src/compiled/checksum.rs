//! Checksums brought up to date by what changed (RFC 1624, equation 3), never recomputed.
//!
//! A wrong checksum stays wrong by as much, as in Open vSwitch.

/// A change of bytes that a checksum covers: the ones' complement sum of `!old + new`, or `None`
/// when nothing changed, which must leave a checksum of 0xffff alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change(Option<u32>);

impl Change {
    /// Bytes changed; both slices have one even length of at most 32 bytes.
    pub(super) fn of(old: &[u8], new: &[u8]) -> Self {
        let pairs = old.as_chunks::<2>().0.iter().zip(new.as_chunks::<2>().0);
        let sum = pairs.fold(0, |sum, (old, new)| {
            sum + u32::from(!u16::from_be_bytes(*old)) + u32::from(u16::from_be_bytes(*new))
        });
        Self((old != new).then_some(sum))
    }

    /// The checksum after the change.
    pub(super) fn apply(self, checksum: u16) -> u16 {
        let Some(change) = self.0 else {
            return checksum;
        };
        let sum = change + u32::from(!checksum);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !low(sum)
    }

    /// Changes the checksum at `at` in `bytes`.
    pub(super) fn update(self, bytes: &mut [u8], at: usize) {
        let field = &mut bytes[at..at + 2];
        let old = u16::from_be_bytes([field[0], field[1]]);
        field.copy_from_slice(&self.apply(old).to_be_bytes());
    }

    /// As [`Self::update`] for UDP, where 0 says that there is none (RFC 768).
    pub(super) fn update_udp(self, bytes: &mut [u8], at: usize) {
        if self.0.is_none() || bytes[at..at + 2] == [0, 0] {
            return;
        }
        self.update(bytes, at);
        if bytes[at..at + 2] == [0, 0] {
            bytes[at..at + 2].copy_from_slice(&[0xff, 0xff]);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits before")]
const fn low(sum: u32) -> u16 {
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1624_gives_zero() {
        assert_eq!(Change::of(&[0x55, 0x55], &[0x32, 0x85]).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn no_change_leaves_either_zero_alone() {
        let change = Change::of(&[1, 2], &[1, 2]);
        assert_eq!((change.apply(0), change.apply(0xffff)), (0, 0xffff));
    }

    #[test]
    fn an_update_equals_a_full_sum() {
        let sum = |words: [u16; 3]| {
            let total: u32 = words.iter().map(|word| u32::from(*word)).sum();
            !low((total & 0xffff) + (total >> 16))
        };
        let old = [0x4500, 0x1234, 0xfffe];
        let new = [0x4500, 0xabcd, 0x0001];
        let change = Change::of(&[0x12, 0x34, 0xff, 0xfe], &[0xab, 0xcd, 0x00, 0x01]);
        assert_eq!(change.apply(sum(old)), sum(new));
    }
}

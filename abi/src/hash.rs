//! The hash of a masked key: places in exact banks and choice of the receive queue
//! (`docs/nic-abi.md` §6.2, §8.2).

use crate::key::{KeyBytes, L4_DST, L4_SRC};
use crate::words::u64_at;

/// §6.2 Hash ways of every exact bank.
pub const WAYS: usize = 4;

/// Added to the words of the key, in order (§6.2): digits of pi.
const ADDENDS: [u64; 8] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6c,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
];
/// Multipliers of the final mix (§6.2): further digits of pi, made odd.
const MULTIPLIERS: [u64; 2] = [0x9216_d5d9_8979_fb1b, 0xd131_0ba6_98df_b5ad];

/// §8.2 Key bytes that choose the receive queue, bit i for byte i: everything that stays the same
/// within a connection.
pub const QUEUE_BYTES: u64 = 0xffff_ffff_ffff_f04f;

/// The four 32-bit hashes of a masked key, one per way (§6.2).
#[must_use]
pub fn ways(masked: &KeyBytes) -> [u32; WAYS] {
    let mut sum = 0_u128;
    for pair in 0..4 {
        let left = u64_at(masked, pair * 16).wrapping_add(ADDENDS[pair * 2]);
        let right = u64_at(masked, pair * 16 + 8).wrapping_add(ADDENDS[pair * 2 + 1]);
        sum = sum.wrapping_add(u128::from(left) * u128::from(right));
    }
    let low = low_64(sum);
    let high = low_64(sum >> 64);
    let first = mix(low ^ high.rotate_left(32));
    let second = mix(high.wrapping_add(first));
    [low_32(first), low_32(first >> 32), low_32(second), low_32(second >> 32)]
}

/// §6.2 The slot of a way's hash among `slots`.
#[must_use]
pub const fn slot(hash: u32, slots: u32) -> u32 {
    low_32((hash as u64 * slots as u64) >> 32)
}

/// §8.2 The receive queue of a packet's key among `queues`.
#[must_use]
pub fn queue(key: &KeyBytes, queues: u32) -> u32 {
    let mut masked = *key;
    for (index, byte) in masked.iter_mut().enumerate() {
        if QUEUE_BYTES >> index & 1 == 0 {
            *byte = 0;
        }
    }
    // Fragments have ports only in the first; without them all stay on one queue.
    if key[crate::key::IP_FRAG] != 0 {
        masked[L4_SRC.start..L4_DST.end].fill(0);
    }
    slot(ways(&masked)[3], queues)
}

fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(MULTIPLIERS[0]);
    let value = (value ^ value >> 29).wrapping_mul(MULTIPLIERS[1]);
    value ^ value >> 32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
const fn low_64(value: u128) -> u64 {
    value as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
const fn low_32(value: u64) -> u32 {
    value as u32
}

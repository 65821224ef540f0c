//! The hash of §6.2 places structured keys: a bank loads to 95 % by moves alone.

use std::collections::HashMap;
use twinpath_abi::hash;
use twinpath_abi::key::KeyBytes;

const SLOTS: u32 = 1000;

/// Places `keys` in a bank without stash by random-walk moves; how many found a place.
fn load(keys: &[KeyBytes]) -> usize {
    let candidates = |key: usize| -> Vec<usize> {
        let ways = (0..).zip(hash::ways(&keys[key]));
        ways.map(|(way, hash)| way * SLOTS as usize + hash::slot(hash, SLOTS) as usize).collect()
    };
    let mut slots: HashMap<usize, usize> = HashMap::new();
    let mut state = 1_u64;
    for key in 0..keys.len() {
        let mut homeless = key;
        let mut placed = false;
        for _ in 0..2000 {
            let choices = candidates(homeless);
            if let Some(free) = choices.iter().find(|slot| !slots.contains_key(*slot)) {
                slots.insert(*free, homeless);
                placed = true;
                break;
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let victim = choices[(state >> 33) as usize % 4];
            homeless = slots.insert(victim, homeless).unwrap();
        }
        if !placed {
            return key;
        }
    }
    keys.len()
}

/// `count` keys with a counter in the two or four bytes at `at`, spread by `step`.
fn counted(at: usize, step: u32, count: u32) -> Vec<KeyBytes> {
    let key = |index: u32| {
        let mut key = [0; 64];
        key[..4].copy_from_slice(&[0, 1, 8, 0]);
        key[36..40].copy_from_slice(&[10, 0, 0, 1]);
        key[at..at + 4].copy_from_slice(&(index * step).to_be_bytes());
        key
    };
    (0..count).map(key).collect()
}

#[test]
fn counters_in_any_field_load_a_bank_to_95_percent() {
    let wanted = SLOTS * 4 * 95 / 100;
    for at in [12, 18, 36, 52, 54, 56, 60] {
        for step in [1, 2, 256, 65_536] {
            let keys = counted(at, step, wanted);
            assert_eq!(load(&keys), wanted as usize, "byte {at}, step {step}");
        }
    }
}

#[test]
fn two_counters_at_once_load_a_bank_to_95_percent() {
    let wanted = SLOTS * 4 * 95 / 100;
    let keys = (0..wanted).map(|index| {
        let mut key = [0; 64];
        let (low, high) = (index % 64, index / 64);
        key[36..40].copy_from_slice(&(0x0a00_0000 + low).to_be_bytes());
        key[52..56].copy_from_slice(&(0x0b00_0000 + high).to_be_bytes());
        key
    });
    assert_eq!(load(&keys.collect::<Vec<_>>()), wanted as usize);
}

//! Banks of 4,096 and 65,536 places load to 95 % and more with the card's own hash, whatever the
//! structure of the keys: counters as addresses, ports, MACs, tunnel ids, all of them at once.

use super::super::tables::candidates;
use super::{Bank, Candidates, Move, Occupants, Shape};
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, Line};

struct Known(Vec<Candidates>);

impl Occupants for Known {
    fn candidates(&self, occupant: u32) -> Candidates {
        self.0[occupant as usize]
    }
    fn movable(&self, _: u32) -> bool {
        true
    }
}

/// Adds keys until the first that finds no place; returns how many did, and the moves needed.
fn load(shape: Shape, key: impl Fn(u32) -> Key) -> (u32, usize) {
    let mut bank = Bank::new(shape);
    let mut known = Known(Vec::new());
    let (mut moves, mut moved) = (Vec::<Move>::new(), 0);
    for number in 0..shape.slots() {
        let line: Line = key(number).head;
        let places = candidates(&line, shape.rows);
        known.0.push(places);
        if bank.place(number, &places, &known, &mut moves).is_none() {
            break;
        }
        moved += moves.len();
    }
    (bank.used(), moved)
}

type KeyOf = fn(u32) -> Key;

fn tcp(source: u128, target: u128, ports: u128) -> Key {
    Key::ZERO
        .with(Field::InPort, 1)
        .with(Field::EthType, 0x0800)
        .with(Field::IpProto, 6)
        .with(Field::IpSrc, source)
        .with(Field::IpDst, target)
        .with(Field::L4Src, ports)
        .with(Field::L4Dst, 80)
}

fn scramble(number: u32) -> u64 {
    let x = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

const SETS: [(&str, KeyOf); 9] = [
    ("source address counts", |n| tcp(0x0a00_0000 + u128::from(n), 0x0a80_0001, 1024)),
    ("both addresses count", |n| {
        tcp(0x0a00_0000 + u128::from(n), 0x0b00_0000 + u128::from(n), 1024)
    }),
    ("addresses and port count", |n| {
        tcp(0x0a00_0000 + u128::from(n), 0x0b00_0000 + u128::from(n), u128::from(n & 0xffff))
    }),
    ("address counts in its upper bytes", |n| tcp(u128::from(n) << 12, 0x0b00_0000, 1)),
    ("source counts up, target down", |n| {
        tcp(0x0a00_0000 + u128::from(n), 0x0b00_0000 - u128::from(n), 1)
    }),
    ("tunnel ids and inner addresses count", |n| {
        tcp(0x0a00_0000 + u128::from(n), 8, 9).with(Field::TunId, u128::from(n))
    }),
    ("IPv6 addresses count in the prefix", |n| {
        tcp((0x2001 << 112) | (u128::from(n) << 64), (0xfd << 120) | u128::from(n), 1)
    }),
    ("MAC pairs count", |n| {
        Key::ZERO
            .with(Field::EthDst, 0x0200_0000_0000 + u128::from(n / 64))
            .with(Field::EthSrc, 0x0200_0100_0000 + u128::from(n % 64))
    }),
    ("random keys", |n| tcp(u128::from(scramble(n)), u128::from(scramble(n ^ 0x8000_0000)), 7)),
];

#[test]
fn structured_and_random_keys_fill_a_bank_to_95_percent() {
    for (rows, stash) in [(1_024, 8), (16_384, 16)] {
        let shape = Shape { ways: 4, rows, stash };
        for (name, key) in SETS {
            let (used, moved) = load(shape, key);
            let permille = u64::from(used) * 1000 / u64::from(shape.slots());
            assert!(permille >= 950, "{name}: {used} of {} placed", shape.slots());
            // The table's last percents cost moves; on average a placement costs less than two.
            assert!(moved < 2 * used as usize, "{name}: {moved} moves for {used} entries");
        }
    }
}

#[test]
fn a_bank_of_odd_size_fills_likewise() {
    let shape = Shape { ways: 4, rows: 1_000, stash: 4 };
    for (name, key) in SETS {
        let (used, _) = load(shape, key);
        assert!(used * 100 >= shape.slots() * 95, "{name}: {used} placed");
    }
}

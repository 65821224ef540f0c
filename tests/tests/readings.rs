//! Three readings of one semantics are equal: the specification (`flow::reference`), the software path
//! (`fallback`) and the simulated card (`hw-sim`), on random pipelines and frames, malformed ones too.
//!
//! `PROPERTY_PACKETS` sets the number of packets, `SEED` replays one world.

use twinpath_tests::readings::{World, number};

/// Packets of one world; each is given to each reading three times.
const FRAMES: usize = 150;
const REPEATS: usize = 3;

/// Runs one world and returns packets given and decided by the card.
fn run(seed: u64) -> (usize, usize) {
    let mut world = World::new(seed);
    let frames = world.frames(FRAMES);
    for _ in 0..REPEATS {
        for (port, frame) in &frames {
            world.check(seed, *port, frame);
        }
    }
    let expected = std::mem::take(&mut world.expected);
    assert_eq!(world.total(), expected, "rule counters of SEED={seed}");
    (FRAMES * REPEATS, world.decided_by_card)
}

#[test]
fn reference_software_and_card_agree_on_bytes_order_and_counters() {
    if let Some(seed) = number("SEED") {
        run(seed);
        return;
    }
    let wanted = number("PROPERTY_PACKETS").unwrap_or(100_000);
    let (mut packets, mut by_card, mut seed) = (0, 0, 0);
    while (packets as u64) < wanted {
        let (given, decided) = run(seed);
        packets += given;
        by_card += decided;
        seed += 1;
    }
    assert!(by_card * 3 > packets, "the card decided {by_card} of {packets} packets");
}

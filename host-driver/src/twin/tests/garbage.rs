//! What the card writes is untrusted: nonsense is found out and every operation still ends.

use super::{Rig, entry};
use crate::nic::SmartNic;
use proptest::prelude::{any, proptest};
use twinpath_abi::bus::Bus;
use twinpath_abi::completion::Completion;
use twinpath_abi::memory::ARENA_BASE;
use twinpath_abi::register;
use twinpath_flow::card::{DeathCause, Event, Refusal};

#[test]
fn a_completion_that_no_card_writes_kills_the_card() {
    type Lie = fn(&mut Completion);
    let lies: [Lie; 7] = [
        |completion| completion.tag ^= 1,
        |completion| completion.tag ^= 1 << 32,
        |completion| completion.tag = u64::MAX,
        |completion| completion.opcode = 6,
        |completion| completion.status = 20,
        |completion| completion.epoch += 1,
        |completion| completion.delivered[1] = 17,
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut rig = Rig::up();
        rig.card.lie = Some(lie);
        let tag = rig.add(entry(2, 1, 1), false);
        rig.run(1);
        assert!(rig.events.contains(&Event::Dead(DeathCause::Garbage)), "lie {number}");
        assert_eq!(rig.result(tag), Some(Err(Refusal::Reset)), "lie {number}");
    }
}

#[test]
fn a_completion_that_comes_twice_kills_the_card() {
    let mut rig = Rig::up();
    rig.add(entry(2, 1, 1), false);
    rig.run(1);
    rig.card.complete((1 << 32, 2), twinpath_abi::completion::Status::Done, None, 0);
    rig.run(1);
    assert!(rig.events.contains(&Event::Dead(DeathCause::Garbage)));
}

#[test]
fn a_command_consumer_that_ran_ahead_kills_the_card() {
    let mut rig = Rig::up();
    rig.card.set(&register::COMMAND_CONSUMER, 5_000);
    assert_eq!(rig.twin.submit(rig.now, &[]), 0);
    rig.run(1);
    assert!(rig.events.contains(&Event::Dead(DeathCause::Garbage)));
}

proptest! {
    #[test]
    fn random_scribbles_over_registers_and_memory_never_panic_and_every_operation_ends(
        registers in proptest::collection::vec((0_u32..0x4100, any::<u32>()), 0..8),
        memory in proptest::collection::vec((0_u64..80_000, any::<u64>()), 0..200),
    ) {
        let mut rig = Rig::up();
        let mut queues = rig.twin.take_queues();
        let tags: Vec<_> = (0..6).map(|number| rig.add(entry(2, number, number), number == 0)).collect();
        for (offset, value) in registers {
            rig.card.memory.write32(offset & !3, value);
        }
        for (offset, value) in memory {
            rig.card.memory.store64(twinpath_abi::bus::Iova(ARENA_BASE + (offset & !7)), value);
        }
        // The card itself is innocent and may trip over what was scribbled; only the host counts.
        rig.card.frozen = true;
        let mut frames = super::packets::Frames::default();
        let _ = queues[0].rx_burst(64, &mut frames);
        let mut seen = super::Seen::default();
        rig.twin.sweep_counters(rig.now, &mut seen);
        rig.run(30);
        for tag in tags {
            assert!(rig.result(tag).is_some());
        }
        assert!(rig.result(twinpath_flow::card::OpTag(1)).is_none(), "ended once");
    }
}

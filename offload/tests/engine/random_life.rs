//! Whatever happens in whatever order: ledger and card agree, nothing is counted wrong, no stale
//! entry serves, every operation ends.

use crate::model::card::Faults;
use crate::model::shape::Shape;
use crate::model::world::World;
use proptest::prelude::*;
use std::time::Duration;
use twinpath_offload::Settings;

fn settings() -> Settings {
    Settings {
        flow_idle: Duration::from_secs(1),
        specialisations: 4,
        ops_in_flight: 8,
        ..Settings::default()
    }
}

fn step(world: &mut World, faults: Faults) {
    match world.random.below(100) {
        0..55 => {
            let key = world.random_key();
            for _ in 0..=world.random.below(3) {
                world.packet(&key);
            }
        }
        55..75 => {
            let count = world.random.below(6);
            world.work(count);
        }
        75..82 => world.send_fence(),
        82..94 => {
            let millis = world.random.below(60);
            world.pass(Duration::from_millis(millis));
        }
        94..97 => world.change_rule(),
        97 => world.sweep(),
        _ if world.card.is_none() => world.card_up(faults),
        _ if world.random.once_in(6) => world.kill_card(),
        _ => {}
    }
    world.check_step();
}

fn live(seed: u64, shape: Shape, faults: Faults) {
    let mut world = World::new(seed, shape, settings());
    for round in 0..6 {
        for _ in 0..150 {
            step(&mut world, faults);
        }
        if round % 2 == 1 {
            world.quiesce();
            world.check_step();
            world.check_quiet();
        }
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    (0..4u8, 1..20u32, 0..6u32, any::<[bool; 3]>()).prop_map(
        |(banks, bank_capacity, ternary_capacity, [generations, hold, no_counters])| Shape {
            banks,
            bank_capacity,
            ternary_capacity,
            generations,
            hold,
            counters: !no_counters,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn a_well_behaved_card_and_the_ledger_agree(seed: u64, shape in shapes()) {
        live(seed, shape, Faults::default());
    }

    #[test]
    fn a_refusing_card_and_the_ledger_agree(seed: u64, shape in shapes()) {
        live(seed, shape, Faults { refuse_add: 4, refuse_delete: 6, cancel_hold: 5 });
    }
}

#[test]
fn packets_released_by_a_card_that_dies_at_once_are_not_counted_as_lost() {
    let shape = Shape {
        banks: 1,
        bank_capacity: 4,
        ternary_capacity: 2,
        generations: true,
        hold: true,
        counters: true,
    };
    let faults = Faults { refuse_add: 4, refuse_delete: 6, cancel_hold: 5 };
    live(14_472_277_691_633_466_504, shape, faults);
}

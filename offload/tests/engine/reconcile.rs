//! What has vanished from the card, without a word, is found within a known time and written anew.

use crate::model::card::Faults;
use crate::model::world::World;
use crate::timeouts::{SHAPE, key, run};
use std::time::Duration;
use twinpath_flow::card::Event;
use twinpath_flow::key::Key;
use twinpath_offload::{EngineEvent, Settings};

/// A world with packets of 20 addresses in the card.
fn busy(seed: u64, settings: Settings) -> (World, Vec<Key>) {
    let mut world = World::new(seed, SHAPE, settings);
    world.card_up(Faults::default());
    let keys: Vec<Key> = (0..20).flat_map(|ip| (1..=3).map(move |port| key(port, ip))).collect();
    traffic(&mut world, &keys, 20);
    (world, keys)
}

fn traffic(world: &mut World, keys: &[Key], rounds: usize) {
    for _ in 0..rounds {
        keys.iter().for_each(|key| world.packet(key));
        run(world, Duration::from_millis(20));
    }
}

fn missing(world: &World) -> usize {
    let is_missing = |event: &&EngineEvent| matches!(event, EngineEvent::EntryMissing { .. });
    world.events.iter().filter(is_missing).count()
}

#[test]
fn an_entry_that_vanished_is_found_by_reading_back_and_its_flow_returns() {
    let mut found = 0;
    for seed in 1..20 {
        let (mut world, keys) = busy(seed, Settings::default());
        let gone: Vec<_> = (0..2).filter_map(|_| world.vanish()).collect();
        found += gone.len();
        traffic(&mut world, &keys, 20);
        let totals = world.engine.reconciled();
        assert_eq!(missing(&world), gone.len(), "seed {seed}: {totals:?}");
        assert_eq!(usize::try_from(totals.missing).expect("a few"), gone.len());
        assert!(totals.passes > 0 && totals.last_pass.is_some());
        let card = world.card.as_ref().unwrap();
        assert!(gone.iter().all(|id| !card.entries.contains_key(id)), "identities are not reused");
        assert!(gone.is_empty() || !card.entries.is_empty(), "their flows did not return");
        world.quiesce();
        world.check_step();
        world.check_quiet();
    }
    assert!(found > 20, "{found}");
}

#[test]
fn an_entry_that_a_sweep_does_not_know_is_mended_at_once() {
    let settings = Settings { inspections_per_second: 0, ..Settings::default() };
    let (mut world, _) = busy(7, settings);
    let id = world.vanish().expect("there are entries");
    run(&mut world, Duration::from_secs(2));
    assert_eq!((world.engine.reconciled().inspected, missing(&world)), (0, 0));
    world.tell(twinpath_offload::Input::Card(Event::Missing { id }));
    world.tell(twinpath_offload::Input::Card(Event::Missing { id }));
    assert_eq!(missing(&world), 1, "once is enough");
    world.quiesce();
    world.check_quiet();
}

#[test]
fn reading_back_is_paced() {
    let settings = Settings { inspections_per_second: 200, ..Settings::default() };
    let (mut world, keys) = busy(3, settings);
    let before = world.engine.reconciled().inspected;
    traffic(&mut world, &keys, 250);
    let read = world.engine.reconciled().inspected - before;
    assert!((900..=1100).contains(&read), "{read} in 5 s");
}

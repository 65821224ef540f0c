//! A card that dies, lies or will not let go.

use crate::model::card::Faults;
use crate::model::world::World;
use crate::timeouts::{SHAPE, key, run};
use std::time::Duration;
use twinpath_flow::card::{
    CounterSink, DeathCause, Done, EntryCounts, EntryId, Epoch, Event, OpTag, Refusal, Sweep,
};
use twinpath_flow::counters::Counts;
use twinpath_offload::event::CounterFault;
use twinpath_offload::io::ResetCause;
use twinpath_offload::{EngineEvent, Input, Place, Settings, WhyNot};

/// A world with one flow in the card.
fn offloaded() -> World {
    let mut world = World::new(5, SHAPE, Settings::default());
    world.card_up(Faults::default());
    for _ in 0..10 {
        world.packet(&key(1, 1));
        run(&mut world, Duration::from_millis(50));
    }
    assert_eq!(places(&world), [Place::Card]);
    world
}

fn places(world: &World) -> Vec<Place> {
    world.engine.flows().map(|flow| flow.place).collect()
}

fn reading(world: &World, packets: u64) -> EntryCounts {
    let id = *world.card.as_ref().expect("up").entries.keys().next().expect("one entry");
    EntryCounts { id, counts: Counts { packets, bytes: packets * 60 }, last_hit: None }
}

#[test]
fn a_dead_card_gives_its_flows_back_and_gets_them_again() {
    let mut world = offloaded();
    world.kill_card();
    assert_eq!(places(&world), [Place::Software]);
    let flow = world.engine.flows().next().expect("still there");
    assert_eq!(flow.why_not, Some(WhyNot::CardDown));
    assert!(world.engine.totals().counter_gap.is_some());
    assert!(world.events.contains(&EngineEvent::CardDead(DeathCause::Heartbeat)));
    world.card_up(Faults::default());
    run(&mut world, Duration::from_millis(200));
    assert_eq!(places(&world), [Place::Card], "re-offered without a packet");
}

#[test]
fn every_flow_is_back_after_a_reset_without_a_packet() {
    let mut world = World::new(5, SHAPE, Settings::default());
    world.card_up(Faults::default());
    for _ in 0..10 {
        (0..40).for_each(|ip| world.packet(&key(1, ip)));
        run(&mut world, Duration::from_millis(50));
    }
    let in_card = |world: &World| places(world).iter().filter(|p| **p == Place::Card).count();
    let before = in_card(&world);
    world.kill_card();
    world.card_up(Faults::default());
    run(&mut world, Duration::from_millis(200));
    assert!(before > 1 && in_card(&world) == before, "{before} {}", in_card(&world));
}

#[test]
fn impossible_counters_are_rejected_and_told() {
    let mut world = offloaded();
    world.sweep();
    let before = world.engine.totals().flows;
    for (packets, fault) in [(0, CounterFault::Backwards), (u64::MAX >> 8, CounterFault::TooFast)] {
        let reading = reading(&world, packets);
        let sweep = Sweep { as_of: world.now, epoch: Epoch(1), complete: true };
        world.engine.begin(world.now, &sweep);
        world.engine.entry(&reading);
        world.tell(Input::Swept(sweep));
        let told = EngineEvent::CounterRejected { entry: reading.id, fault };
        assert!(world.events.contains(&told), "{told}");
    }
    assert_eq!(world.engine.totals().flows.total(), before.total());
}

#[test]
fn a_sweep_of_another_epoch_counts_nothing() {
    let mut world = offloaded();
    world.sweep();
    let before = world.engine.totals().flows.total();
    let reading = reading(&world, 1000);
    let sweep = Sweep { as_of: world.now, epoch: Epoch(9), complete: true };
    world.engine.begin(world.now, &sweep);
    world.engine.entry(&reading);
    world.tell(Input::Swept(sweep));
    assert_eq!(world.engine.totals().flows.total(), before);
}

#[test]
fn unknown_completions_and_entries_are_ignored_and_told() {
    let mut world = offloaded();
    let tag = OpTag(987_654);
    world.tell(Input::Card(Event::Done { tag, result: Ok(Done::default()) }));
    assert!(world.events.contains(&EngineEvent::UnknownCompletion { tag }));
    let told = world.events.len();
    world.tell(Input::Card(Event::Done { tag, result: Err(Refusal::Reset) }));
    world.tell(Input::Card(Event::HoldCancelled { id: EntryId(987_654) }));
    assert_eq!(world.events.len(), told, "ends of an earlier epoch are expected");
    assert_eq!(places(&world), [Place::Card]);
}

#[test]
fn an_operation_that_never_ends_costs_a_reset() {
    let mut world = offloaded();
    world.packet(&key(2, 1));
    for _ in 0..60 {
        world.pass(Duration::from_millis(100));
    }
    assert!(world.events.contains(&EngineEvent::ResetWanted(ResetCause::LostOperation)));
    assert!(world.card.is_none());
}

#[test]
fn a_held_entry_is_taken_out_when_software_does_not_come_on() {
    let mut world = World::new(5, SHAPE, Settings::default());
    world.card_up(Faults::default());
    world.packet(&key(1, 1));
    world.packet(&key(1, 1));
    world.work(8);
    for _ in 0..30 {
        world.pass(Duration::from_millis(10));
        world.work(8);
    }
    let flow = world.engine.flows().next().expect("one was made");
    assert_eq!(flow.why_not, Some(WhyNot::Refused(Refusal::Timeout)));
    world.quiesce();
    run(&mut world, Duration::from_secs(1));
    world.packet(&key(1, 1));
    run(&mut world, Duration::from_secs(1));
    assert_eq!(places(&world), [Place::Card], "tried again after the back-off");
}

#[test]
fn an_entry_that_cannot_be_deleted_costs_a_reset() {
    let mut world = offloaded();
    world.card.as_mut().expect("up").faults.refuse_delete = 1;
    run(&mut world, Duration::from_secs(12));
    assert!(world.events.contains(&EngineEvent::ResetWanted(ResetCause::StuckEntry)));
}

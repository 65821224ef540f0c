//! Resets and deaths: noticed in time, everything outstanding ends, the card comes back.

use crate::rig::Rig;
use crate::world::{STEP_NS, World, entry, profile, udp};
use twinpath_abi::bus::{Bus, Iova};
use twinpath_abi::register;
use twinpath_flow::card::{DeathCause, Epoch, Event, FlowOp, Generation, Health, Refusal};
use twinpath_host_driver::nic::SmartNic;

pub(crate) fn a_reset_empties_the_card_and_it_works_again<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    world.add(entry(1, 7)).unwrap();
    world.commit(3).unwrap();
    let tag = world.tag();
    let parked = FlowOp::Delete { tag, id: entry(1, 7).id, until: Some(Generation(9)) };
    let parked = world.submit(parked);
    assert_eq!(world.twin.reset(world.now), Ok(Epoch(2)));
    assert_eq!(world.twin.health(world.now), Health::Starting);
    world.twin.poll(world.now, &mut world.events);
    assert_eq!(world.result(parked), Some(Err(Refusal::Reset)));
    let mut old = std::mem::take(&mut world.queues);
    world.come_up();
    world.send(0, &udp(7, 1));
    assert!(world.out(1).is_empty(), "the entry is gone");
    let mut frames = crate::world::Frames::default();
    for queue in &mut old {
        assert_eq!(queue.rx_burst(8, &mut frames), Ok(0), "old queues are inert");
    }
    let received = world.received();
    assert_eq!((received.len(), received[0].0.generation), (1, Generation(0)));
    world.add(entry(1, 7)).unwrap();
    world.send(0, &udp(7, 2));
    assert_eq!(world.out(1), [udp(7, 2)]);
}

pub(crate) fn a_silent_card_is_dead_within_ten_milliseconds_and_comes_back<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    world.add(entry(1, 7)).unwrap();
    let tag = world.tag();
    let cut = world.submit(FlowOp::Add { tag, entry: Box::new(entry(2, 8)), hold: false });
    let began = world.now;
    while world.events.is_empty() {
        world.now.0 += STEP_NS;
        world.twin.poll(world.now, &mut world.events);
    }
    assert!(world.now.since(began).as_millis() <= 10);
    assert_eq!(world.result(cut), Some(Err(Refusal::Reset)));
    assert_eq!(world.events, [Event::Dead(DeathCause::Heartbeat)]);
    world.events.clear();
    assert_eq!(world.twin.reset(world.now), Ok(Epoch(2)));
    world.come_up();
    world.add(entry(1, 7)).unwrap();
    world.send(0, &udp(7, 2));
    assert_eq!(world.out(1), [udp(7, 2)]);
}

pub(crate) fn scribbled_rings_are_garbage_and_a_reset_heals_them<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let bus = world.rig.bus();
    let base = bus.read64(register::COMPLETION_BASE.offset);
    for word in 0..(128 << 9) / 8 {
        bus.store64(Iova(base + word * 8), u64::MAX);
    }
    world.run(1);
    assert_eq!(world.events, [Event::Dead(DeathCause::Garbage)]);
    assert_eq!(world.twin.health(world.now), Health::Dead(DeathCause::Garbage));
    world.events.clear();
    world.twin.reset(world.now).unwrap();
    world.come_up();
    world.add(entry(1, 7)).unwrap();
}

pub(crate) fn a_function_reset_behind_the_drivers_back_is_noticed<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    world.add(entry(1, 7)).unwrap();
    world.rig.function_reset();
    world.run(30);
    assert_eq!(world.events.first(), Some(&Event::ResetRequest));
    world.events.clear();
    world.twin.reset(world.now).unwrap();
    world.come_up();
    world.add(entry(1, 7)).unwrap();
    world.send(0, &udp(7, 2));
    assert_eq!(world.out(1), [udp(7, 2)]);
}

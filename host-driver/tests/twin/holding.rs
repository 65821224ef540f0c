//! Hold and release: a flow moves into the card and no packet overtakes another.

use crate::rig::Rig;
use crate::world::{World, entry, number, profile, udp};
use twinpath_flow::card::{EntryId, Event, FlowOp, Reason, Refusal};

pub(crate) fn a_held_entry_keeps_the_order_of_its_packets<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let mut next = 0;
    let mut arrive = |world: &mut World<R>, count: u32| {
        for _ in 0..count {
            world.send(0, &udp(7, next));
            next += 1;
        }
    };
    arrive(&mut world, 5);
    let tag = world.tag();
    world.submit(FlowOp::Add { tag, entry: Box::new(entry(1, 7)), hold: true });
    arrive(&mut world, 5);
    let fence = world.finish(tag).unwrap().fence.unwrap();
    arrive(&mut world, 3);
    assert!(world.out(1).is_empty(), "packets wait");
    // The host sends its misses up to the fence through either queue, then releases.
    let misses = world.received();
    let delivered: u64 = fence.delivered.iter().sum();
    assert_eq!(misses.len() as u64, delivered, "nothing came after the fence");
    assert!(misses.len() >= 5);
    for (_, frame) in &misses {
        world.inject(1, 2, frame);
    }
    let tag = world.tag();
    world.submit(FlowOp::Release { tag, id: EntryId(1) });
    arrive(&mut world, 2);
    world.finish(tag).unwrap();
    arrive(&mut world, 5);
    let out: Vec<_> = world.out(1).iter().map(|frame| number(frame)).collect();
    assert_eq!(out, (0..20).collect::<Vec<_>>());
    let counts = world.delete(1).unwrap().counts.unwrap();
    assert_eq!(counts.packets, 20 - delivered);
}

pub(crate) fn an_overflowing_hold_gives_its_frames_back_in_order<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    world.hold(entry(1, 7)).unwrap();
    for number in 0..17 {
        world.send(0, &udp(7, number));
    }
    world.run(2);
    let received = world.received();
    let numbers: Vec<_> = received.iter().map(|(_, frame)| number(frame)).collect();
    assert_eq!(numbers, (0..17).collect::<Vec<_>>());
    assert!(received.iter().all(|(meta, _)| meta.reason == Reason::NoEntry));
    assert_eq!(world.events, [Event::HoldCancelled { id: EntryId(1) }]);
    world.events.clear();
    let tag = world.tag();
    let release = world.operate(FlowOp::Release { tag, id: EntryId(1) });
    assert_eq!(release, Err(Refusal::NoEntry));
    world.add(entry(1, 7)).unwrap();
    world.send(0, &udp(7, 99));
    assert_eq!(world.out(1), [udp(7, 99)]);
}

pub(crate) fn a_held_entry_can_be_deleted<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    world.hold(entry(1, 7)).unwrap();
    for number in 0..3 {
        world.send(0, &udp(7, number));
    }
    assert!(world.received().is_empty());
    assert_eq!(world.delete(1).unwrap().counts.unwrap().packets, 0);
    world.run(1);
    let numbers: Vec<_> = world.received().iter().map(|(_, frame)| number(frame)).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

pub(crate) fn without_a_free_hold_queue_an_add_is_cancelled<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    for id in 0..4 {
        world.hold(entry(id, id)).unwrap();
    }
    assert_eq!(world.hold(entry(4, 4)), Err(Refusal::HoldOverflow));
    world.add(entry(4, 4)).unwrap();
    world.send(0, &udp(4, 1));
    assert_eq!(world.out(1).len(), 1);
}

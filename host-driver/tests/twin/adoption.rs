//! The driver's process is gone at any moment; another one takes the card over, which never stopped.

use crate::remote::OverSocket;
use crate::rig::Rig;
use crate::world::{World, entry, entry_to, number, ports, profile, udp};
use proptest::prelude::{Strategy, any};
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use twinpath_flow::card::{EntryId, Event, FlowOp, Generation, Inheritance};
use twinpath_flow::counters::Counts;
use twinpath_host_driver::nic::SmartNic;
use twinpath_host_driver::twin::{Settings, Twin, Unadoptable};

/// Kills the driver and has another one with `settings` take the card over.
fn succeed_with(world: &mut World<OverSocket>, settings: Settings) -> Option<Inheritance> {
    world.queues.clear();
    world.events.clear();
    world.rig.succeed(world.arena);
    let bus = world.rig.bus();
    world.twin = Twin::adopt(bus, ports(), settings, world.now);
    for _ in 0..10_000 {
        world.run(1);
        if world.events.iter().any(|event| matches!(event, Event::Up(_))) {
            break;
        }
    }
    world.queues = world.twin.take_queues();
    assert_eq!(world.queues.len(), 2, "{:?} {:?}", world.events, world.twin.failure());
    world.twin.take_inheritance()
}

fn succeed(world: &mut World<OverSocket>) -> Option<Inheritance> {
    let settings = world.settings;
    succeed_with(world, settings)
}

fn ids(inheritance: &Inheritance) -> Vec<u32> {
    let mut ids: Vec<_> = inheritance.entries.iter().map(|entry| entry.id.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn an_adopted_card_forwards_on_with_its_entries_and_counters() {
    let mut world = World::<OverSocket>::new(profile(64, 4));
    for id in 1..=20 {
        world.add(entry(id, 100 + id)).unwrap();
    }
    world.delete(3).unwrap();
    world.send(0, &udp(105, 1));
    assert_eq!(world.out(1).len(), 1);
    // Nobody is there: the card forwards, and misses wait.
    world.queues.clear();
    for count in 0..3 {
        world.rig.port_in(0, &udp(105, 10 + count), world.now.0);
        world.rig.port_in(0, &udp(999, count), world.now.0);
    }
    let inheritance = succeed(&mut world).expect("taken over");
    assert_eq!(world.out(1).iter().map(|frame| number(frame)).collect::<Vec<_>>(), [10, 11, 12]);
    let waiting = world.received();
    let mut waiting: Vec<_> = waiting.iter().map(|(_, frame)| number(frame)).collect();
    waiting.sort_unstable();
    assert_eq!(waiting, [0, 1, 2]);
    let wanted: Vec<u32> = (1..=20).filter(|id| *id != 3).collect();
    assert_eq!(ids(&inheritance), wanted);
    assert_eq!((inheritance.strays, inheritance.leaving), (0, 0));
    assert_eq!(inheritance.masks.len(), 1);
    let fifth = inheritance.entries.iter().find(|found| found.id == EntryId(5)).unwrap();
    assert_eq!(fifth.counts, Counts { packets: 4, bytes: 256 });
    assert_eq!(fifth.matching, entry(5, 105).matching);
    for id in wanted {
        assert!(world.twin.claim(&entry(id, 100 + id)));
    }
    // It goes on as if it were its own: sweeps, deletes, new entries in its places.
    let (sweep, counts) = world.sweep();
    assert!(sweep.complete && counts.len() == 19);
    assert_eq!(world.delete(5).unwrap().counts, Some(Counts { packets: 4, bytes: 256 }));
    world.add(entry(21, 121)).unwrap();
    world.inject(0, 2, &udp(1, 77));
    world.run(5);
    assert_eq!(world.out(1).iter().map(|frame| number(frame)).collect::<Vec<_>>(), [77]);
}

#[test]
fn an_entry_that_is_not_as_it_should_be_is_taken_out() {
    let mut world = World::<OverSocket>::new(profile(64, 4));
    for id in 1..=3 {
        world.add(entry(id, 100 + id)).unwrap();
    }
    succeed(&mut world).expect("taken over");
    assert!(world.twin.claim(&entry(1, 101)));
    assert!(!world.twin.claim(&entry_to(2, 102, &[30])), "it sends elsewhere");
    world.twin.disown(EntryId(3));
    world.run(20);
    for target in 101..=103 {
        world.send(0, &udp(target, target));
    }
    assert_eq!(world.out(1).iter().map(|frame| number(frame)).collect::<Vec<_>>(), [101]);
    assert_eq!(world.received().len(), 2);
    world.add(entry_to(4, 102, &[30])).unwrap();
    assert_eq!(ids(&succeed(&mut world).unwrap()), [1, 4]);
}

#[test]
fn what_was_asked_and_not_answered_is_carried_out() {
    let mut world = World::<OverSocket>::new(profile(64, 4));
    for id in 1..=5 {
        world.add(entry(id, 100 + id)).unwrap();
    }
    // Submitted, and the process is gone before the card has looked.
    for id in 6..=30 {
        let tag = world.tag();
        let entry = Box::new(entry(id, 100 + id));
        assert_eq!(world.twin.submit(world.now, &[FlowOp::Add { tag, entry, hold: false }]), 1);
    }
    let tag = world.tag();
    let delete = FlowOp::Delete { tag, id: EntryId(2), until: None };
    assert_eq!(world.twin.submit(world.now, &[delete]), 1);
    let found = succeed(&mut world).expect("taken over");
    assert_eq!(ids(&found), [1].into_iter().chain(3..=30).collect::<Vec<_>>());
}

#[test]
fn an_entry_that_still_holds_gives_its_packets_back_in_order() {
    let mut world = World::<OverSocket>::new(profile(64, 4));
    world.send(0, &udp(101, 0));
    world.hold(entry(1, 101)).unwrap();
    world.send(0, &udp(101, 1));
    world.send(0, &udp(101, 2));
    let found = succeed(&mut world).expect("taken over");
    assert_eq!((found.strays, found.entries.len()), (1, 0));
    world.run(5);
    let frames: Vec<_> = world.received().iter().map(|(_, frame)| number(frame)).collect();
    assert_eq!(frames, [0, 1, 2]);
}

#[test]
fn an_entry_that_leaves_with_a_commit_leaves_with_the_next() {
    let mut world = World::<OverSocket>::new(profile(64, 4));
    world.add(entry(1, 101)).unwrap();
    world.add(entry(2, 102)).unwrap();
    let tag = world.tag();
    let until = Some(Generation(1));
    world.submit(FlowOp::Delete { tag, id: EntryId(2), until });
    world.run(3);
    let found = succeed(&mut world).expect("taken over");
    assert_eq!((found.leaving, ids(&found)), (1, vec![1]));
    assert_eq!(found.generation, Generation(0));
    world.send(0, &udp(102, 1));
    assert_eq!(world.out(1).len(), 1, "until then it serves");
    world.commit(1).unwrap();
    world.send(0, &udp(102, 2));
    assert_eq!(world.received().len(), 1);
    world.add(entry(3, 102)).unwrap();
    world.send(0, &udp(102, 3));
    assert_eq!(world.out(1).len(), 1);
}

#[test]
fn a_card_of_another_layout_or_epoch_is_reset() {
    let mut world = World::<OverSocket>::new(profile(64, 4));
    world.add(entry(1, 101)).unwrap();
    let other = Settings { receive_log2: 6, ..world.settings };
    assert_eq!(succeed_with(&mut world, other), None);
    assert_eq!(world.twin.unadoptable(), Some(&Unadoptable::OtherLayout));
    world.send(0, &udp(101, 1));
    assert_eq!(world.received().len(), 1, "it began empty");
    let mut world = World::<OverSocket>::new(profile(64, 4));
    world.add(entry(1, 101)).unwrap();
    world.rig.function_reset();
    assert_eq!(succeed(&mut world), None);
    assert!(matches!(world.twin.unadoptable(), Some(Unadoptable::NotForwarding { .. })));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u32),
    Delete(u32),
    Packet(u32),
    Wait(u64),
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    (0_u8..100, 0_u32..30, any::<bool>()).prop_map(|(kind, target, long)| match kind {
        0..35 => Step::Add(target),
        35..55 => Step::Delete(target),
        55..80 => Step::Packet(target),
        80..92 => Step::Wait(if long { 4 } else { 1 }),
        _ => Step::Kill,
    })
}

/// Every submitted operation is in force after a kill, and nothing else; counters never go back.
fn live(steps: &[Step]) {
    let mut world = World::<OverSocket>::new(profile(16, 4));
    let mut model: BTreeMap<u32, u32> = BTreeMap::new();
    let mut counted: BTreeMap<u32, u64> = BTreeMap::new();
    let mut next_id = 0;
    for step in steps.iter().copied().chain([Step::Kill]) {
        match step {
            Step::Add(target) if !model.contains_key(&target) => {
                next_id += 1;
                let tag = world.tag();
                let add = Box::new(entry(next_id, target));
                world.submit(FlowOp::Add { tag, entry: add, hold: false });
                model.insert(target, next_id);
            }
            Step::Delete(target) => {
                if let Some(id) = model.remove(&target) {
                    let tag = world.tag();
                    world.submit(FlowOp::Delete { tag, id: EntryId(id), until: None });
                }
            }
            Step::Packet(target) => world.rig_send(&udp(target, 0)),
            Step::Wait(steps) => world.run(steps),
            Step::Kill => {
                let found = succeed(&mut world).expect("taken over");
                let mut wanted: Vec<u32> = model.values().copied().collect();
                wanted.sort_unstable();
                assert_eq!((ids(&found), found.strays), (wanted, 0));
                for inherited in &found.entries {
                    let before = counted.insert(inherited.id.0, inherited.counts.packets);
                    assert!(before.unwrap_or(0) <= inherited.counts.packets);
                    let target = model.iter().find(|(_, id)| **id == inherited.id.0).unwrap().0;
                    assert!(world.twin.claim(&entry(inherited.id.0, *target)));
                }
                world.received();
                if found.masks.is_empty() {
                    // An empty bank is given a mask like any other.
                    world.set_mask();
                }
            }
            Step::Add(_) => {}
        }
    }
}

impl World<OverSocket> {
    fn rig_send(&mut self, frame: &[u8]) {
        self.rig.port_in(0, frame, self.now.0);
    }
}

#[test]
fn random_lives_with_kills_lose_no_entry_and_leave_no_orphan() {
    let mut runner = TestRunner::default();
    let steps = proptest::collection::vec(step(), 0..150);
    runner
        .run(&steps, |steps| {
            live(&steps);
            Ok(())
        })
        .unwrap();
}

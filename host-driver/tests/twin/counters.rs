//! Counters: swept, final, and both together.

use crate::rig::Rig;
use crate::world::{World, entry, profile, udp};
use twinpath_flow::card::{Epoch, Event, FlowOp, Generation, OpTag};
use twinpath_host_driver::nic::SmartNic;

pub(crate) fn a_sweep_counts_what_was_forwarded_and_final_counts_agree<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    for id in 0..20 {
        world.add(entry(id, 100 + id)).unwrap();
    }
    let mut last = Vec::new();
    for id in 0..20 {
        for round in 0..id {
            world.send(0, &udp(100 + id, round));
        }
        last.push(world.now);
    }
    let (sweep, mut counted) = world.sweep();
    assert!(sweep.complete && sweep.epoch == Epoch(1));
    assert!(sweep.as_of <= world.now && sweep.as_of >= last[19]);
    counted.sort_by_key(|entry| entry.id);
    assert_eq!(counted.len(), 20);
    for (id, entry) in (0..20_u32).zip(&counted) {
        assert_eq!((entry.id.0, entry.counts.packets), (id, u64::from(id)));
        assert_eq!(entry.counts.bytes, 64 * u64::from(id));
        assert_eq!(entry.last_hit.is_some(), id > 0);
        assert!(entry.last_hit.is_none_or(|hit| hit < last[id as usize]));
    }
    for id in 0..20_u32 {
        assert_eq!(world.delete(id).unwrap().counts.unwrap().packets, u64::from(id));
    }
    assert!(world.sweep().1.is_empty());
}

pub(crate) fn a_sweep_of_a_full_card_is_complete<R: Rig>() {
    let mut world = World::<R>::new(profile(256, 8));
    let add = |id: u32| FlowOp::Add {
        tag: OpTag(1_000_000 + u64::from(id)),
        entry: Box::new(entry(id, id)),
        hold: false,
    };
    for id in 0..1_032 {
        world.submit(add(id));
    }
    world.run(100);
    let placed = |event: &&Event| matches!(event, Event::Done { result: Ok(_), .. });
    let placed = world.events.iter().filter(placed).count();
    let (sweep, counted) = world.sweep();
    assert!(sweep.complete);
    assert_eq!(counted.len(), placed);
    assert!(placed >= 980, "{placed} of 1032");
    assert_eq!(world.twin.capabilities().tables[0].capacity, 1_032);
}

pub(crate) fn a_ring_that_was_full_is_swept_without_another_operation<R: Rig>() {
    let mut world = World::<R>::new(profile(256, 8));
    world.add(entry(1, 1)).unwrap();
    let commit = |number: u32| FlowOp::Commit {
        tag: OpTag(2_000_000 + u64::from(number)),
        generation: Generation(number),
    };
    let many: Vec<_> = (1..10_000).map(commit).collect();
    assert!(world.twin.submit(world.now, &many) < many.len(), "the ring is full");
    world.run(100);
    assert_eq!(world.sweep().1.len(), 1);
}

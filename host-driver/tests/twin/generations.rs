//! Batches become visible all at once.

use crate::rig::Rig;
use crate::world::{World, entry, entry_to, number, profile, udp};
use twinpath_flow::card::{EntryId, FlowOp, Generation};

pub(crate) fn a_commit_changes_many_entries_between_two_packets<R: Rig>() {
    let mut world = World::<R>::new(profile(64, 4));
    for id in 0..50 {
        world.add(entry_to(id, id, &[2])).unwrap();
    }
    let mut deletes = Vec::new();
    for id in 0..50 {
        let tag = world.tag();
        let until = Some(Generation(1));
        deletes.push(world.submit(FlowOp::Delete { tag, id: EntryId(id), until }));
        let mut new = entry_to(100 + id, id, &[31]);
        new.from = Generation(1);
        let tag = world.tag();
        world.submit(FlowOp::Add { tag, entry: Box::new(new), hold: false });
    }
    world.run(10);
    let tag = world.tag();
    world.submit(FlowOp::Commit { tag, generation: Generation(1) });
    world.rig.step(world.now.0);
    // 2000 packets, one every 10 ns, around the moment the commit takes effect.
    for count in 0..2_000_u32 {
        world.rig.port_in(0, &udp(count % 50, count), world.now.0 + u64::from(count) * 10);
    }
    world.now.0 += 20_000;
    world.finish(tag).unwrap();
    let old: Vec<_> = world.out(1).iter().map(|frame| number(frame)).collect();
    let new: Vec<_> = world.out(3).iter().map(|frame| number(frame)).collect();
    assert!(world.received().is_empty(), "no packet fell between the generations");
    let switched = u32::try_from(old.len()).unwrap();
    assert!(switched > 0 && switched < 2_000, "{switched} old");
    assert_eq!(old, (0..switched).collect::<Vec<_>>(), "old first");
    assert_eq!(new, (switched..2_000).collect::<Vec<_>>(), "then new, all of it");
    let mut counted = 0;
    for tag in deletes {
        counted += world.finish(tag).unwrap().counts.unwrap().packets;
    }
    assert_eq!(counted, u64::from(switched));
    assert!(world.commit(1).is_err(), "a generation is committed once");
}

pub(crate) fn more_entries_end_with_a_commit_than_the_rings_have_slots<R: Rig>() {
    let mut world = World::<R>::new(profile(1_020, 16));
    let count = 3_000;
    for id in 0..count {
        let tag = world.tag();
        world.submit(FlowOp::Add { tag, entry: Box::new(entry(id, id)), hold: false });
    }
    world.run(100);
    world.events.clear();
    let mut tags = Vec::new();
    for id in 0..count {
        let tag = world.tag();
        let until = Some(Generation(9));
        tags.push(world.submit(FlowOp::Delete { tag, id: EntryId(id), until }));
    }
    world.run(1_000);
    assert!(world.events.is_empty());
    world.commit(9).unwrap();
    for tag in tags {
        world.finish(tag).unwrap();
    }
    assert!(world.sweep().1.is_empty());
}

//! Tables fill with moves, while packets pass.

use crate::rig::Rig;
use crate::world::{World, entry, number, profile, udp};
use twinpath_flow::card::{Event, FlowOp, OpTag, Refusal};

pub(crate) fn moves_under_traffic_lose_neither_packets_nor_counts<R: Rig>() {
    let mut world = World::<R>::new(profile(24, 2));
    let (mut placed, mut sent) = (Vec::new(), Vec::new());
    for id in 0..98_u32 {
        let tag = world.tag();
        let entry = Box::new(entry(id, 0x0a00_0000 + id));
        world.submit(FlowOp::Add { tag, entry, hold: false });
        world.rig.step(world.now.0);
        // Packets of every entry in the card arrive while commands take effect one by one.
        for other in &placed {
            let at = world.now.0 + 60 * u64::from(*other);
            world.rig.port_in(0, &udp(0x0a00_0000 + other, *other), at);
            sent[*other as usize] += 1;
        }
        world.now.0 += 10_000;
        sent.push(0_u64);
        match world.finish(tag) {
            Ok(_) => placed.push(id),
            Err(refusal) => assert_eq!(refusal, Refusal::TableFull),
        }
        assert!(world.received().is_empty(), "no packet missed");
        let out: Vec<_> = world.out(1).iter().map(|frame| number(frame)).collect();
        let expected: Vec<_> = placed.iter().copied().filter(|other| *other != id).collect();
        assert_eq!(out, expected, "each once, in order");
    }
    assert!(placed.len() >= 94, "{} of 98 placed", placed.len());
    for id in placed {
        let counts = world.delete(id).unwrap().counts.unwrap();
        assert_eq!(counts.packets, sent[id as usize], "entry {id}");
    }
}

pub(crate) fn structured_keys_load_a_bank_of_4096_to_95_percent<R: Rig>() {
    let mut world = World::<R>::new(profile(1_020, 16));
    let adds: Vec<_> = (0..4_096_u32)
        .map(|id| FlowOp::Add {
            tag: OpTag(1_000_000 + u64::from(id)),
            entry: Box::new(entry(id, 0x0a00_0000 + id)),
            hold: false,
        })
        .collect();
    let mut rest = &adds[..];
    let mut ends = Vec::new();
    while !rest.is_empty() {
        let taken = twinpath_host_driver::nic::SmartNic::submit(&mut world.twin, world.now, rest);
        rest = &rest[taken..];
        world.run(1);
        ends.append(&mut world.events);
    }
    world.run(50);
    ends.append(&mut world.events);
    let (mut placed, mut full) = (0, 0);
    for event in ends {
        match event {
            Event::Done { result: Ok(_), .. } => placed += 1,
            Event::Done { result: Err(Refusal::TableFull), .. } => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(placed + full, 4_096);
    assert!(placed >= 4_096 * 95 / 100, "{placed} placed");
    let (sweep, counted) = world.sweep();
    assert!(sweep.complete);
    assert_eq!(counted.len(), placed, "the card has what the driver says");
}

pub(crate) fn a_full_table_says_so_and_takes_again_after_a_delete<R: Rig>() {
    let mut world = World::<R>::new(profile(1, 0));
    let mut id = 0;
    while world.add(entry(id, id)).is_ok() {
        id += 1;
        assert!(id <= 4);
    }
    assert_eq!(world.add(entry(90, id)), Err(Refusal::TableFull));
    world.send(0, &udp(id, 1));
    assert_eq!(world.received().len(), 1, "what does not fit misses");
    world.delete(0).unwrap();
    world.add(entry(91, id)).unwrap();
    world.send(0, &udp(id, 2));
    assert_eq!(world.out(1), [udp(id, 2)]);
}

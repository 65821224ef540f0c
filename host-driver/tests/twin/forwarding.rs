//! Packets through the card: misses, entries, edits, exceptions, and frames of the host.

use crate::rig::Rig;
use crate::world::{World, entry, entry_to, number, profile, to_mac, udp};
use std::collections::BTreeMap;
use std::sync::Arc;
use twinpath_flow::card::{EntryId, FlowOp, Generation, Reason, TableId};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::MaskedKey;
use twinpath_flow::port::PortNo;
use twinpath_host_driver::nic::TxFrame;

pub(crate) fn a_miss_comes_to_the_host_as_it_was<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let sent_at = world.now;
    world.send(2, &udp(7, 1));
    let received = world.received();
    assert_eq!(received.len(), 1);
    let (meta, bytes) = &received[0];
    assert_eq!(*bytes, udp(7, 1));
    assert_eq!((meta.port, meta.reason, meta.entry), (PortNo(30), Reason::NoEntry, None));
    assert_eq!((meta.generation, meta.time), (Generation(0), sent_at));
    for port in 0..4 {
        assert!(world.out(port).is_empty());
    }
}

pub(crate) fn an_entry_forwards_and_edits_in_the_card<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let mut wanted = entry(5, 0x0a00_0001);
    let mut edit = to_mac(0x0600_0000_0099, 31);
    edit.outputs.push(PortNo(2));
    edit.ttl_decrements = 1;
    (wanted.edit, wanted.ttl_threshold) = (Arc::new(edit), Some(1));
    world.add(wanted).unwrap();
    world.send(0, &udp(0x0a00_0001, 1));
    let mut expected = udp(0x0a00_0001, 1);
    expected[..6].copy_from_slice(&[6, 0, 0, 0, 0, 0x99]);
    expected[22] = 63;
    // The TTL is the upper byte of its checksum word: one less there, 0x0100 more in the sum.
    let sum = u16::from_be_bytes([expected[24], expected[25]]);
    let (sum, carry) = sum.overflowing_add(0x0100);
    expected[24..26].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    assert_eq!(world.out(3), [expected.clone()]);
    assert_eq!(world.out(1), [expected]);
    assert!(world.received().is_empty());
}

pub(crate) fn a_modified_entry_edits_anew<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    world.add(entry(5, 1)).unwrap();
    world.send(0, &udp(1, 1));
    let (tag, edit) = (world.tag(), Arc::new(to_mac(0x0600_0000_0077, 30)));
    let modify = FlowOp::Modify { tag, id: EntryId(5), edit, ttl_threshold: None };
    let counts = world.operate(modify).unwrap().counts.unwrap();
    assert_eq!((counts.packets, counts.bytes), (1, 64));
    world.send(0, &udp(1, 2));
    assert_eq!(world.out(1), [udp(1, 1)]);
    let changed = world.out(2);
    assert_eq!((changed.len(), changed[0][5], number(&changed[0])), (1, 0x77, 2));
    assert_eq!(world.delete(5).unwrap().counts.unwrap().packets, 2, "counts go on");
}

pub(crate) fn a_packet_at_its_ttl_threshold_is_an_exception<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let mut wanted = entry(5, 1);
    wanted.edit = Arc::new(Edit { ttl_decrements: 1, ..(*wanted.edit).clone() });
    wanted.ttl_threshold = Some(64);
    world.add(wanted).unwrap();
    world.send(0, &udp(1, 1));
    let received = world.received();
    assert_eq!(received[0].1, udp(1, 1), "untouched");
    assert_eq!(received[0].0.reason, Reason::Exception);
    assert!(world.out(1).is_empty());
    assert_eq!(world.delete(5).unwrap().counts.unwrap().packets, 0, "uncounted");
}

pub(crate) fn an_entry_without_outputs_drops<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    world.add(entry_to(5, 1, &[])).unwrap();
    world.send(0, &udp(1, 1));
    assert!(world.received().is_empty());
    assert!((0..4).all(|port| world.out(port).is_empty()));
    assert_eq!(world.delete(5).unwrap().counts.unwrap().packets, 1);
}

pub(crate) fn a_ternary_entry_serves_after_the_banks<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let mut wide = entry_to(6, 0, &[31]);
    wide.table = TableId(1);
    wide.matching = MaskedKey::default();
    wide.matching.constrain(Field::InPort, 1, 0xffff);
    world.add(wide).unwrap();
    world.add(entry(5, 1)).unwrap();
    world.send(0, &udp(1, 1));
    world.send(0, &udp(2, 2));
    world.send(2, &udp(2, 3));
    assert_eq!(world.out(1), [udp(1, 1)]);
    assert_eq!(world.out(3), [udp(2, 2)]);
    assert_eq!(world.received().len(), 1);
}

pub(crate) fn frames_of_the_host_leave_in_order_over_many_laps<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let (mut next, mut seen) = (0, 0);
    while seen < 1_000 {
        let frames: Vec<_> = (next..next + 50).map(|number| udp(1, number)).collect();
        let frames: Vec<_> = frames.iter().map(|data| TxFrame { port: PortNo(30), data }).collect();
        next += u32::try_from(world.queues[1].tx_burst(&frames)).unwrap();
        world.run(1);
        for frame in world.out(2) {
            assert_eq!(number(&frame), seen);
            seen += 1;
        }
    }
    assert_eq!(world.twin.dropped_frames(), 0);
}

pub(crate) fn every_queue_receives_and_each_flow_stays_on_one<R: Rig>() {
    let mut world = World::<R>::new(profile(16, 2));
    let mut home = BTreeMap::new();
    for round in 0..20 {
        for target in 0..32 {
            world.send(0, &udp(target, round));
        }
        for queue in 0..2 {
            let mut frames = crate::world::Frames::default();
            while world.queues[queue].rx_burst(7, &mut frames).unwrap() > 0 {}
            for (_, bytes) in frames.0 {
                let target = bytes[33];
                assert_eq!(*home.entry(target).or_insert(queue), queue);
                assert_eq!(number(&bytes), round);
            }
        }
    }
    assert_eq!(home.len(), 32);
    assert!(home.values().any(|queue| *queue == 0) && home.values().any(|queue| *queue == 1));
    let delivered: u64 = world.queues.iter().map(|queue| queue.delivered()).sum();
    assert_eq!(delivered, 640);
}

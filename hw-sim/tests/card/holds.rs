//! Hold queues: no packet overtakes another of its kind, whatever entries overlap.

use crate::host::{Host, entry, frame, ternary};
use twinpath_abi::command::{Command, EntryRef, Holding, opcode};
use twinpath_abi::completion::Status;
use twinpath_abi::entry::EntryImage;
use twinpath_hw_sim::Profile;

/// RELEASE with the indices the host has reached.
fn release(host: &mut Host, at: EntryRef) {
    let mut indices = [0; 64];
    for (index, sent) in host.sent.iter().enumerate() {
        indices[index * 4..index * 4 + 4].copy_from_slice(&sent.to_le_bytes());
    }
    let indices = host.operand(&indices);
    host.post(Command::Release { at, indices });
}

#[test]
fn held_packets_leave_after_what_the_host_sends_before_the_release() {
    let mut host = Host::new("tiny");
    host.card.port_in(0, &frame(7, 0), host.now);
    let added = host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Hold);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.card.port_in(0, &frame(7, 2), host.now);
    assert_eq!(host.card.held(), 2);
    let missed = host.receive_all();
    assert_eq!(missed.len(), 1);
    assert_eq!(added.delivered[..2].iter().sum::<u32>(), 1);
    assert!(host.left(1).is_empty());
    host.transmit(0, 1, &missed[0].bytes);
    release(&mut host, ternary(0, 5));
    host.settle();
    host.card.port_in(0, &frame(7, 3), host.now);
    let marks: Vec<u8> = host.left(1).iter().map(|frame| frame[59]).collect();
    assert_eq!(marks, [0, 1, 2, 3]);
    assert_eq!(host.completion().unwrap().opcode, opcode::RELEASE);
    let deleted = host.done(Command::Delete { at: ternary(0, 5), until: None });
    assert_eq!(deleted.counters.unwrap().packets, 3);
}

#[test]
fn a_full_hold_queue_cancels_the_install_and_loses_nothing() {
    let mut profile = Profile::named("tiny").unwrap();
    profile.set("hold_frames", 4).unwrap();
    let mut host = Host::with(profile);
    host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Hold);
    for mark in 0..6 {
        host.card.port_in(0, &frame(7, mark), host.now);
    }
    host.settle();
    let marks: Vec<u8> = host.receive_all().iter().map(|frame| frame.bytes[59]).collect();
    assert_eq!(marks, [0, 1, 2, 3, 4, 5]);
    let event = host.completion().unwrap();
    assert_eq!((event.opcode, event.entry), (opcode::HOLD_OVERFLOW, 5));
    release(&mut host, ternary(0, 5));
    host.settle();
    assert_eq!(host.completion().unwrap().status, Status::NoEntry as u16);
    assert_eq!(host.card.held(), 0);
}

/// An entry for every IPv4 frame from port number 1.
fn any(id: u32, outputs: u64) -> EntryImage {
    let mut image = entry(id, 7, outputs);
    image.mask[52..56].fill(0);
    image.matching[52..56].fill(0);
    image
}

fn marks(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().map(|frame| frame[59]).collect()
}

#[test]
fn a_packet_that_another_entry_serves_does_not_wait() {
    let mut host = Host::new("tiny");
    host.add(ternary(3, 5), &entry(5, 7, 2), Holding::Direct);
    host.add(ternary(0, 6), &any(6, 2), Holding::Hold);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.card.port_in(0, &frame(8, 2), host.now);
    assert_eq!((marks(&host.left(1)), host.card.held()), (vec![1], 1));
    release(&mut host, ternary(0, 6));
    host.settle();
    host.card.port_in(0, &frame(7, 3), host.now);
    assert_eq!(marks(&host.left(1)), [2, 3]);
}

#[test]
fn an_overflow_cancels_the_younger_holds_whose_packets_waited_in_it() {
    let mut profile = Profile::named("tiny").unwrap();
    profile.set("hold_frames", 2).unwrap();
    let mut host = Host::with(profile);
    host.add(ternary(3, 5), &entry(5, 7, 2), Holding::Hold);
    // Younger, and before it in the table.
    host.add(ternary(0, 6), &any(6, 2), Holding::Hold);
    host.add(ternary(1, 8), &entry(8, 8, 2), Holding::Hold);
    host.card.port_in(0, &frame(9, 0), host.now);
    for mark in 1..4 {
        host.card.port_in(0, &frame(7, mark), host.now);
    }
    host.card.port_in(0, &frame(7, 4), host.now);
    host.card.port_in(0, &frame(8, 5), host.now);
    host.settle();
    let missed: Vec<Vec<u8>> = host.receive_all().into_iter().map(|frame| frame.bytes).collect();
    assert_eq!(marks(&missed), [1, 2, 0, 3, 4], "9 waited behind nobody");
    let events: Vec<_> = std::iter::from_fn(|| host.completion()).collect();
    let told: Vec<_> = events.iter().map(|event| (event.opcode, event.entry)).collect();
    let overflow = opcode::HOLD_OVERFLOW;
    assert_eq!(told, [(overflow, 6), (overflow, 5)]);
    assert_eq!(host.card.held(), 1, "nobody's packets waited for those of entry 8");
}

#[test]
fn a_release_waits_for_older_holds_that_keep_its_packets() {
    let mut host = Host::new("tiny");
    host.add(ternary(3, 5), &entry(5, 7, 2), Holding::Hold);
    host.add(ternary(0, 6), &any(6, 2), Holding::Hold);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.card.port_in(0, &frame(8, 2), host.now);
    release(&mut host, ternary(0, 6));
    host.settle();
    assert_eq!((host.completion(), host.card.held()), (None, 2));
    release(&mut host, ternary(3, 5));
    host.settle();
    let ended: Vec<u32> = std::iter::from_fn(|| host.completion()).map(|end| end.entry).collect();
    assert_eq!((marks(&host.left(1)), ended), (vec![1, 2], vec![5, 6]));
}

#[test]
fn a_younger_hold_goes_with_an_older_one_that_is_deleted() {
    let mut host = Host::new("tiny");
    host.add(ternary(3, 5), &entry(5, 7, 2), Holding::Hold);
    host.add(ternary(0, 6), &any(6, 2), Holding::Hold);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.post(Command::Delete { at: ternary(3, 5), until: None });
    host.settle();
    let ended: Vec<_> = std::iter::from_fn(|| host.completion()).collect();
    let told: Vec<_> = ended.iter().map(|end| (end.opcode, end.entry)).collect();
    assert_eq!(told, [(opcode::HOLD_OVERFLOW, 6), (opcode::DELETE, 5)]);
    assert_eq!((host.receive_all().len(), host.card.held()), (1, 0));
}

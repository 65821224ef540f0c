//! Each fault that is a state of the card: it begins at a time, lasts, and ends.

use crate::faults::strike;
use crate::host::{Host, entry, frame, ternary};
use twinpath_abi::bus::Bus as _;
use twinpath_abi::capability::Capability;
use twinpath_abi::command::{Command, Holding, opcode};
use twinpath_abi::register as reg;
use twinpath_hw_sim::fault::{Class, Incident};

const MS: u64 = 1_000_000;

/// Begins a state of the card for so many milliseconds, resets notwithstanding.
fn suffer(host: &mut Host, class: Class, milliseconds: u64) {
    let lasts = Some(milliseconds * MS);
    host.card.inject(Incident { class, at: host.now, lasts, amount: None }).unwrap();
    host.card.step(host.now);
}

fn pass(host: &mut Host, milliseconds: u64) {
    for _ in 0..milliseconds {
        host.now += MS;
        host.card.step(host.now);
    }
}

/// A card with an entry for frames to 10.0.0.7, to port 1.
fn forwarding() -> Host {
    let mut host = Host::new("tiny");
    assert_eq!(host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct).status, 0);
    host
}

/// Whether a frame for the entry leaves, and comes to the host.
fn fate(host: &mut Host) -> (usize, usize) {
    host.card.port_in(0, &frame(7, 1), host.now);
    host.card.step(host.now);
    (host.left(1).len(), host.receive_all().len())
}

#[test]
fn a_removed_function_reads_all_ones_and_comes_back_powered_up() {
    let mut host = forwarding();
    let epoch = host.memory.read32(reg::EPOCH.offset);
    suffer(&mut host, Class::Removed, 5);
    for register in [reg::IDENTITY, reg::STATUS, reg::HEARTBEAT, reg::RESET_DONE] {
        assert_eq!(host.memory.read32(register.offset), u32::MAX);
    }
    assert_eq!(fate(&mut host), (0, 0), "nothing moves");
    host.memory.write32(reg::RESET_REQUEST.offset, 9);
    pass(&mut host, 4);
    assert_eq!(host.memory.read32(reg::RESET_DONE.offset), u32::MAX);
    pass(&mut host, 2);
    assert_eq!(host.memory.read32(reg::IDENTITY.offset), reg::IDENTITY_VALUE);
    assert_eq!(host.memory.read32(reg::RESET_DONE.offset), 0);
    assert_eq!(host.memory.read32(reg::EPOCH.offset), epoch + 1);
    host.bring_up();
    assert_eq!(fate(&mut host), (0, 1), "empty");
    assert_eq!(host.card.fired().of(Class::Removed), 1);
}

#[test]
fn a_hung_firmware_answers_nothing_while_tables_and_rings_go_on() {
    let mut host = forwarding();
    strike(&mut host, Class::HeartbeatStopped);
    host.card.step(host.now);
    let beat = host.memory.read32(reg::HEARTBEAT.offset);
    host.post(Command::Nop);
    pass(&mut host, 8);
    assert_eq!(host.memory.read32(reg::HEARTBEAT.offset), beat);
    assert_eq!(host.completion(), None);
    assert_eq!(fate(&mut host), (1, 0), "tables go on");
    host.card.port_in(0, &frame(8, 1), host.now);
    host.card.step(host.now);
    assert_eq!(host.receive_all().len(), 1, "rings go on");
    host.bring_up();
    pass(&mut host, 2);
    assert_ne!(host.memory.read32(reg::HEARTBEAT.offset), beat, "a reset ends it");
}

#[test]
fn a_fault_for_a_duration_outlives_resets() {
    let mut host = Host::new("tiny");
    suffer(&mut host, Class::HeartbeatStopped, 20);
    let beat = host.memory.read32(reg::HEARTBEAT.offset);
    let done = host.memory.read32(reg::RESET_DONE.offset);
    host.memory.write32(reg::RESET_REQUEST.offset, done + 1);
    pass(&mut host, 10);
    assert_eq!(host.memory.read32(reg::RESET_DONE.offset), done + 1, "it is carried out");
    let shown = host.memory.read32(reg::HEARTBEAT.offset);
    pass(&mut host, 5);
    assert_eq!(host.memory.read32(reg::HEARTBEAT.offset), shown);
    assert!(shown >= beat);
    pass(&mut host, 10);
    assert_ne!(host.memory.read32(reg::HEARTBEAT.offset), shown);
}

#[test]
fn a_card_asks_for_a_reset_until_it_is_reset() {
    let mut host = Host::new("tiny");
    strike(&mut host, Class::ResetWanted);
    pass(&mut host, 1);
    let wanted = |host: &Host| host.memory.read32(reg::STATUS.offset) & reg::status::RESET_WANTED;
    assert_ne!(wanted(&host), 0);
    assert_eq!(host.memory.read32(reg::SYNDROME.offset), 0, "no fault");
    host.bring_up();
    assert_eq!(wanted(&host), 0);
}

#[test]
fn an_ignored_reset_is_not_done_and_the_next_is() {
    let mut host = forwarding();
    strike(&mut host, Class::ResetIgnored);
    host.memory.write32(reg::RESET_REQUEST.offset, 77);
    pass(&mut host, 10);
    assert_ne!(host.memory.read32(reg::RESET_DONE.offset), 77);
    assert_eq!(fate(&mut host), (1, 0));
    host.memory.write32(reg::RESET_REQUEST.offset, 78);
    pass(&mut host, 1);
    assert_eq!(host.memory.read32(reg::RESET_DONE.offset), 78);
}

#[test]
fn a_link_goes_down_and_up_with_events_and_counts() {
    let mut host = Host::new("tiny");
    strike(&mut host, Class::LinkDown);
    host.card.step(host.now);
    let event = host.completion().unwrap();
    assert_eq!((event.opcode, event.detail >> 31), (opcode::LINK, 0));
    let port = event.detail;
    assert!(!host.card.link(port as usize));
    assert_eq!(host.port_counter(port, reg::port::LINK) & 0xffff_ffff, 0);
    host.card.port_in(port as usize, &frame(7, 1), host.now);
    pass(&mut host, 1);
    assert_eq!(host.port_counter(port, reg::port::RX_REFUSED), 1);
    pass(&mut host, 10);
    let event = host.completion().unwrap();
    assert_eq!((event.opcode, event.detail), (opcode::LINK, port | 1 << 31));
    assert!(host.card.link(port as usize));
}

#[test]
fn a_ring_index_reads_garbage_and_then_the_truth() {
    for _ in 0..6 {
        let mut host = Host::new("tiny");
        let before = indices(&host);
        strike(&mut host, Class::RingGarbage);
        host.card.step(host.now);
        assert_ne!(indices(&host), before);
        pass(&mut host, 2);
        assert_eq!(indices(&host), before);
    }
}

fn indices(host: &Host) -> Vec<u32> {
    let queues = [reg::queue::RX_PRODUCER.offset, reg::queue::TX_CONSUMER.offset];
    let of = |queue: u32| queues.map(|at| reg::QUEUE_ARRAY + queue * reg::QUEUE_STRIDE + at);
    let all = (0..4).flat_map(of).chain([reg::COMMAND_CONSUMER.offset]);
    all.map(|offset| host.memory.read32(offset)).collect()
}

#[test]
fn a_dead_engine_sends_every_packet_to_the_host() {
    let mut host = forwarding();
    suffer(&mut host, Class::EngineDead, 5);
    assert_ne!(host.memory.read32(reg::STATUS.offset) & reg::status::BYPASS, 0);
    assert_eq!(fate(&mut host), (0, 1));
    host.transmit(0, 2, &frame(9, 1));
    host.settle();
    assert_eq!(host.left(2).len(), 1, "what the host sends leaves");
    pass(&mut host, 6);
    assert_eq!(fate(&mut host), (1, 0));
}

#[test]
fn a_broken_entry_serves_nobody_until_it_is_written_anew() {
    let mut host = forwarding();
    strike(&mut host, Class::EntryEcc);
    pass(&mut host, 1);
    assert_eq!(fate(&mut host), (0, 1));
    let image = host.operand(&[]);
    let read = host.command(Command::ReadEntry { table: 2, place: 0, image });
    assert_eq!(read.status, 7, "it cannot be read");
    let image = host.operand(&entry(5, 7, 2).encode());
    host.done(Command::Modify { at: ternary(0, 5), image });
    assert_eq!(fate(&mut host), (1, 0));
    strike(&mut host, Class::EntryEcc);
    pass(&mut host, 1);
    host.card.clear_faults();
    assert_eq!(fate(&mut host), (1, 0), "mended");
}

#[test]
fn spurious_interrupts_announce_nothing() {
    let mut host = Host::new("tiny");
    (0..17).for_each(|vector| _ = host.memory.poll_interrupt(vector));
    strike(&mut host, Class::InterruptSpurious);
    pass(&mut host, 1);
    let raised: u64 = (0..17).map(|vector| host.memory.poll_interrupt(vector)).sum();
    assert_eq!(raised, 1);
}

#[test]
fn capabilities_change_with_a_reset_and_are_its_own_again_after_clearing() {
    let mut host = Host::new("small");
    let capability = |host: &Host| {
        let mut block = [0; 768];
        for (word, offset) in block.as_chunks_mut::<4>().0.iter_mut().zip((0x400..).step_by(4)) {
            *word = host.memory.read32(offset).to_le_bytes();
        }
        Capability::decode(&block).unwrap()
    };
    let own = capability(&host);
    strike(&mut host, Class::CapabilitiesChanged);
    assert_eq!(capability(&host), own, "not before a reset");
    host.bring_up();
    let less = capability(&host);
    assert_eq!((less.counters, less.hold_frames), (own.counters / 2, 0));
    host.card.clear_faults();
    assert_eq!(capability(&host), less);
    host.bring_up();
    assert_eq!(capability(&host), own);
}

#[test]
fn clearing_mends_the_card() {
    let mut host = forwarding();
    suffer(&mut host, Class::HeartbeatStopped, 1_000);
    strike(&mut host, Class::LinkDown);
    host.card.step(host.now);
    host.card.clear_faults();
    assert!(host.card.faults().is_none());
    host.settle();
    assert_eq!(fate(&mut host), (1, 0));
    assert!((0..4).all(|port| host.card.link(port)));
    suffer(&mut host, Class::Removed, 1_000);
    host.card.clear_faults();
    assert_eq!(host.memory.read32(reg::IDENTITY.offset), reg::IDENTITY_VALUE);
    host.bring_up();
    assert_eq!(fate(&mut host), (0, 1));
}

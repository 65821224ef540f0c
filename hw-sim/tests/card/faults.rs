//! Each fault that befalls one operation, as a host sees it in BAR and DMA memory.

use crate::host::{Host, entry, frame, matching, ternary};
use twinpath_abi::bus::Bus as _;
use twinpath_abi::command::{Command, EntryRef, Holding};
use twinpath_abi::completion::{Completion, Status};
use twinpath_abi::entry::NO_ENTRY;
use twinpath_abi::register as reg;
use twinpath_abi::sweep::Record;
use twinpath_hw_sim::fault::{Class, Incident, Plan, Rate};

/// A card whose next chance of a class is taken.
fn once(class: Class) -> Host {
    let mut host = Host::new("tiny");
    strike(&mut host, class);
    host
}

/// The next chance of a class is taken.
pub(crate) fn strike(host: &mut Host, class: Class) {
    let incident = Incident { class, at: host.now, lasts: None, amount: None };
    host.card.inject(incident).unwrap();
}

fn nop(host: &mut Host) -> Option<Completion> {
    host.post(Command::Nop);
    host.settle();
    host.completion()
}

/// Tag of the command given last.
fn last_tag(host: &Host) -> u64 {
    u64::from(host.produced) + 999
}

#[test]
fn a_lost_completion_never_comes_though_its_command_is_done() {
    let mut host = once(Class::CompletionLost);
    let image = host.operand(&entry(5, 7, 2).encode());
    host.post(Command::Add { at: ternary(0, 5), holding: Holding::Direct, image });
    host.settle();
    assert_eq!(host.completion(), None);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.settle();
    assert_eq!(host.left(1), [frame(7, 1)]);
    assert!(nop(&mut host).is_some(), "the next one comes");
    assert_eq!(host.card.fired().of(Class::CompletionLost), 1);
}

#[test]
fn a_late_completion_comes_after_its_delay_and_is_foreseen() {
    let mut host = once(Class::CompletionLate);
    assert_eq!(nop(&mut host), None);
    let late = last_tag(&host);
    let next = nop(&mut host).unwrap();
    assert_eq!(next.tag, late + 1, "it is passed");
    let due = host.card.next_event().unwrap();
    host.card.step(due - 1);
    assert_eq!(host.completion(), None);
    host.card.step(due);
    assert_eq!(host.completion().unwrap().tag, late);
}

#[test]
fn a_duplicated_completion_comes_twice() {
    let mut host = once(Class::CompletionDuplicated);
    let first = nop(&mut host);
    assert!(first.is_some());
    assert_eq!(host.completion(), first);
}

#[test]
fn a_reordered_completion_comes_behind_the_next() {
    let mut host = once(Class::CompletionReordered);
    host.post(Command::Nop);
    host.post(Command::Nop);
    host.settle();
    let tags = [host.completion().unwrap().tag, host.completion().unwrap().tag];
    assert_eq!(tags, [last_tag(&host), last_tag(&host) - 1]);
}

#[test]
fn a_completion_of_an_unknown_tag_comes_before_the_right_one() {
    let mut host = once(Class::CompletionUnknownTag);
    let unknown = nop(&mut host).unwrap();
    assert!(unknown.tag.abs_diff(last_tag(&host)) > 1 << 32);
    assert_eq!(host.completion().unwrap().tag, last_tag(&host));
}

#[test]
fn a_command_with_a_status_has_changed_nothing() {
    let mut host = once(Class::CommandStatus);
    let added = host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct);
    assert_ne!(added.status, Status::Done as u16);
    assert!(Status::from_code(added.status).is_some());
    assert_eq!(host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct).status, 0);
}

#[test]
fn a_command_that_times_out_is_neither_done_nor_answered() {
    let mut host = once(Class::CommandTimeout);
    let image = host.operand(&entry(5, 7, 2).encode());
    host.post(Command::Add { at: ternary(0, 5), holding: Holding::Direct, image });
    host.settle();
    assert_eq!(host.completion(), None);
    assert_eq!(host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct).status, 0);
}

#[test]
fn a_full_card_refuses_from_so_many_entries_on() {
    let mut host = Host::new("tiny");
    host.card.set_fault(Class::TableFull, Rate { one_in: 1, amount: Some(2) }, 1);
    for id in 0..2 {
        let image = entry(id, u8::try_from(id).unwrap(), 2);
        assert_eq!(host.add(ternary(id, id), &image, Holding::Direct).status, 0);
    }
    let third = host.add(ternary(2, 2), &entry(2, 2, 2), Holding::Direct);
    assert_eq!(third.status, Status::Occupied as u16);
    host.card.clear_faults();
    assert_eq!(host.add(ternary(2, 2), &entry(2, 2, 2), Holding::Direct).status, 0);
}

#[test]
fn an_ignored_entry_is_answered_and_not_there() {
    let mut host = once(Class::EntryIgnored);
    assert_eq!(host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct).status, 0);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.settle();
    assert_eq!((host.left(1).len(), host.receive_all().len()), (0, 1));
    let gone = host.command(Command::Delete { at: ternary(0, 5), until: None });
    assert_eq!(gone.status, Status::NoEntry as u16);
}

/// An exact entry of bank 0 with its place.
fn exact(host: &mut Host, id: u32) -> EntryRef {
    let (mask, value) = matching(1, 7);
    let operand = host.operand(&mask);
    host.done(Command::SetMask { table: 0, mask: operand });
    let image =
        twinpath_abi::entry::EntryImage { mask: [0; 64], matching: value, ..entry(id, 7, 2) };
    let stash = host.card.profile().banks[0].slots * 4;
    let at = EntryRef { table: 0, place: stash, id };
    assert_eq!(host.add(at, &image, Holding::Direct).status, 0);
    at
}

#[test]
fn a_stale_entry_forwards_after_a_reset() {
    let mut host = Host::new("tiny");
    exact(&mut host, 5);
    host.add(ternary(0, 6), &entry(6, 8, 2), Holding::Direct);
    strike(&mut host, Class::EntryStale);
    host.bring_up();
    for target in [7, 8] {
        host.card.port_in(0, &frame(target, 1), host.now);
    }
    host.settle();
    assert_eq!(host.left(1), [frame(7, 1)], "mask, words and place stay");
    assert_eq!(host.receive_all().len(), 1, "the other is gone");
    let records = host.memory.alloc(4096).unwrap();
    host.done(Command::Sweep { first: 0, address: records.0, length: 4096 });
    assert_eq!(record(&host, records, 5).entry, 5, "its counter too");
    assert_eq!(record(&host, records, 6).entry, NO_ENTRY);
}

fn record(host: &Host, records: twinpath_abi::bus::Iova, counter: u64) -> Record {
    let mut bytes = [0; 32];
    host.memory.copy_out(records.plus(counter * 32), &mut bytes);
    Record::decode(&bytes)
}

#[test]
fn sweeps_are_torn_and_counters_wrap_and_start_again() {
    let mut host = Host::new("tiny");
    host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct);
    for _ in 0..3 {
        host.card.port_in(0, &frame(7, 1), host.now);
    }
    let records = host.memory.alloc(4096).unwrap();
    let sweep = |host: &mut Host| {
        host.done(Command::Sweep { first: 0, address: records.0, length: 4096 });
        let counters = record(host, records, 5).counters;
        (counters.packets, counters.bytes)
    };
    strike(&mut host, Class::SweepTorn);
    assert_ne!(sweep(&mut host), (3, 180));
    assert_eq!(sweep(&mut host), (3, 180), "only what was written was torn");
    strike(&mut host, Class::CounterWrapped);
    let wrapped = 3_u64.wrapping_sub(1 << 32);
    assert_eq!(sweep(&mut host).0, wrapped);
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!(sweep(&mut host).0, wrapped + 1, "it goes on from there");
    strike(&mut host, Class::CounterReset);
    assert_eq!(sweep(&mut host), (0, 0));
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!(sweep(&mut host), (1, 60));
}

#[test]
fn interrupts_are_lost_and_late() {
    let mut host = Host::new("tiny");
    host.memory.poll_interrupt(0);
    strike(&mut host, Class::InterruptLost);
    assert!(nop(&mut host).is_some());
    assert_eq!(host.memory.poll_interrupt(0), 0);
    strike(&mut host, Class::InterruptLate);
    assert!(nop(&mut host).is_some());
    assert_eq!(host.memory.poll_interrupt(0), 0);
    let due = host.card.next_event().unwrap();
    host.card.step(due);
    assert_eq!(host.memory.poll_interrupt(0), 1);
}

#[test]
fn a_frame_that_finds_the_ring_full_is_counted() {
    let mut host = once(Class::ReceiveOverrun);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.card.port_in(0, &frame(7, 2), host.now);
    host.settle();
    let frames = host.receive_all();
    assert_eq!((frames.len(), frames[0].bytes.last()), (1, Some(&2)));
    assert_eq!(host.port_counter(0, reg::port::RX_OVERRUN), 1);
}

#[test]
fn a_record_at_a_wrong_address_leaves_its_own_slot_empty() {
    let mut host = once(Class::DmaWrong);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.card.port_in(0, &frame(7, 2), host.now);
    host.settle();
    assert!(host.receive_all().is_empty(), "the first slot was not written");
    let queue = reg::QUEUE_ARRAY + reg::queue::RX_PRODUCER.offset;
    let produced = [queue, queue + reg::QUEUE_STRIDE].map(|offset| host.memory.read32(offset));
    assert_eq!(produced.iter().sum::<u32>(), 2, "but announced");
    let mut host = once(Class::DmaWrong);
    assert_eq!(nop(&mut host), None);
}

#[test]
fn a_dma_fault_stops_the_rings_until_a_reset() {
    for to_the_host in [true, false] {
        let mut host = once(Class::DmaUnmapped);
        if to_the_host {
            host.card.port_in(0, &frame(7, 1), host.now);
        } else {
            host.post(Command::Nop);
        }
        host.settle();
        host.settle();
        assert_eq!(host.memory.read32(reg::SYNDROME.offset), reg::syndrome::DMA);
        let state = host.memory.read32(reg::STATUS.offset);
        assert_ne!(state & reg::status::FAULT, 0);
        host.bring_up();
        assert!(nop(&mut host).is_some());
    }
}

#[test]
fn a_slow_command_holds_up_those_behind_it() {
    let mut host = Host::new("tiny");
    let slow = Incident { class: Class::CommandSlow, at: 0, lasts: None, amount: Some(50_000_000) };
    host.card.inject(slow).unwrap();
    host.post(Command::Nop);
    host.post(Command::Nop);
    let began = host.now;
    host.card.step(began);
    host.card.step(began + 50_000_000);
    assert_eq!(host.completion(), None);
    host.card.step(began + 51_000_000);
    assert!(host.completion().is_some() && host.completion().is_some());
}

#[test]
fn an_update_stops_the_packets_for_a_while_and_keeps_their_order() {
    let mut host = Host::new("tiny");
    host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct);
    host.card.set_fault(Class::UpdateCost, Rate { one_in: 1, amount: Some(300_000) }, 1);
    host.post(Command::Nop);
    let began = host.now;
    host.card.step(began);
    host.card.step(began + 10_000);
    for mark in 0..2 {
        host.card.port_in(0, &frame(7, mark), began + 20_000);
    }
    host.card.step(began + 200_000);
    assert!(host.left(1).is_empty());
    host.card.step(began + 320_000);
    assert_eq!(host.left(1), [frame(7, 0), frame(7, 1)]);
}

#[test]
fn a_hold_queue_that_is_full_cancels_the_install() {
    let mut host = Host::new("tiny");
    assert_eq!(host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Hold).status, 0);
    strike(&mut host, Class::HoldOverflow);
    host.card.port_in(0, &frame(7, 1), host.now);
    host.settle();
    assert_eq!(host.completion().unwrap().status, Status::HoldOverflow as u16);
    assert_eq!(host.receive_all().len(), 1);
}

#[test]
fn rates_are_kept_and_the_same_seed_does_the_same() {
    let run = |seed| {
        let mut host = Host::new("tiny");
        host.card.set_faults(Plan::new(seed).with(Class::ReceiveOverrun, 10));
        for _ in 0..2_000 {
            host.card.port_in(0, &frame(7, 1), host.now);
            host.card.step(host.now);
            host.receive_all();
        }
        (host.card.fired().of(Class::ReceiveOverrun), host.port_counter(0, reg::port::MISSED))
    };
    let (fired, missed) = run(1);
    assert!((150..250).contains(&fired), "{fired} of 2000");
    assert_eq!(fired + missed, 2_000);
    assert_eq!(run(1), (fired, missed));
    assert_ne!(run(2).0, fired);
}

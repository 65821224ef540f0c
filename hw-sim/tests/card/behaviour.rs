//! What a host sees of the card: misses, forwarding, counters, generations, holds, the window.

use crate::host::{self, Host, entry, frame, matching, ternary};
use twinpath_abi::bus::Bus;
use twinpath_abi::capability::Capability;
use twinpath_abi::command::{Command, EntryRef, Holding, Operand, opcode};
use twinpath_abi::completion::{COMPLETION_BYTES, Completion, NEVER, Status};
use twinpath_abi::entry::{ENTRY_BYTES, EntryImage, FOREVER};
use twinpath_abi::hash;
use twinpath_abi::receive::ReceiveReason;
use twinpath_abi::register as reg;
use twinpath_abi::sweep::Record;
use twinpath_hw_sim::Profile;

#[test]
fn a_fresh_card_says_what_it_is() {
    let host = Host::new("small");
    let memory = &host.memory;
    assert_eq!(memory.read32(reg::IDENTITY.offset).to_le_bytes(), *b"TWIN");
    assert_eq!(memory.read32(reg::VERSION.offset), 0x0001_0004);
    assert_eq!(memory.read32(reg::EPOCH.offset), 1);
    assert_eq!(memory.read32(reg::STATUS.offset), reg::status::READY);
    let mut block = [0; 768];
    for (word, offset) in block.as_chunks_mut::<4>().0.iter_mut().zip((0x400..).step_by(4)) {
        *word = memory.read32(offset).to_le_bytes();
    }
    let capability = Capability::decode(&block).unwrap();
    assert_eq!(capability, Profile::named("small").unwrap().capability());
    assert_eq!(capability.counters, 4096);
}

#[test]
fn a_packet_without_entry_comes_to_the_host_whole() {
    let mut host = Host::new("tiny");
    let arrival = host.now + 5;
    host.card.port_in(2, &frame(7, 1), arrival);
    host.settle();
    let frames = host.receive_all();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].bytes, frame(7, 1));
    let meta = frames[0].meta;
    assert_eq!((meta.port, meta.reason), (2, Some(ReceiveReason::NoEntry)));
    assert_eq!((meta.timestamp, meta.generation, meta.entry), (arrival, 0, u32::MAX));
    assert_eq!(host.port_counter(2, reg::port::MISSED), 1);
    assert_eq!(host.port_counter(2, reg::port::RX_BYTES), 60);
}

#[test]
fn an_entry_forwards_counts_and_gives_its_counts_back() {
    let mut host = Host::new("tiny");
    assert_eq!(host.add(ternary(0, 5), &entry(5, 7, 0b1010), Holding::Direct).status, 0);
    host.card.port_in(0, &frame(7, 1), host.now + 9);
    host.card.port_in(0, &frame(8, 1), host.now + 9);
    host.settle();
    for port in [1, 3] {
        assert_eq!(host.left(port), [frame(7, 1)]);
    }
    assert_eq!(host.receive_all().len(), 1);
    assert_eq!(host.port_counter(0, reg::port::DECIDED), 1);
    let records = host.memory.alloc(4096).unwrap();
    let sweep = Command::Sweep { first: 0, address: records.0, length: 4096 };
    let swept = host.done(sweep);
    assert_eq!((swept.detail, swept.complete), (64, true));
    let mut bytes = [0; 32];
    host.memory.copy_out(records.plus(5 * 32), &mut bytes);
    let record = Record::decode(&bytes);
    assert_eq!((record.entry, record.counters.packets, record.counters.bytes), (5, 1, 60));
    let deleted = host.done(Command::Delete { at: ternary(0, 5), until: None });
    assert_eq!(deleted.counters, Some(record.counters));
    assert_eq!(host.command(Command::Delete { at: ternary(0, 5), until: None }).status, 6);
}

#[test]
fn an_exact_entry_lives_only_where_its_hash_says_and_moves_with_its_counts() {
    let mut host = Host::new("tiny");
    let (mask, value) = matching(1, 7);
    let operand = host.operand(&mask);
    host.done(Command::SetMask { table: 0, mask: operand });
    let image = EntryImage { mask: [0; 64], matching: value, ..entry(3, 7, 4) };
    let bank = Profile::named("tiny").unwrap().banks[0];
    let place =
        |way: u32| way * bank.slots + hash::slot(hash::ways(&value)[way as usize], bank.slots);
    let wrong = (0..bank.slots).find(|slot| *slot != place(0)).unwrap();
    let at = |place| EntryRef { table: 0, place, id: 3 };
    assert_eq!(host.add(at(wrong), &image, Holding::Direct).status, Status::WrongPlace as u16);
    assert_eq!(host.add(at(place(0)), &image, Holding::Direct).status, 0);
    assert_eq!(host.command(Command::SetMask { table: 0, mask: operand }).status, 9);
    for target in [place(3), bank.slots * 4] {
        host.card.port_in(0, &frame(7, 2), host.now);
        let from = if target == place(3) { place(0) } else { place(3) };
        host.done(Command::Move { at: at(from), target });
    }
    host.card.port_in(0, &frame(7, 2), host.now);
    let deleted = host.done(Command::Delete { at: at(bank.slots * 4), until: None });
    assert_eq!(deleted.counters.unwrap().packets, 3);
    assert_eq!(host.left(2).len(), 3);
    assert!(host.receive_all().is_empty());
    // The bank is empty: the moves left nothing behind.
    let operand = host.operand(&mask);
    host.done(Command::SetMask { table: 0, mask: operand });
}

#[test]
fn an_entry_of_a_later_generation_does_not_serve_yet_nor_one_of_an_earlier_still() {
    let mut host = Host::new("tiny");
    let image = EntryImage { from: 2, until: 3, ..entry(1, 7, 2) };
    host.add(ternary(0, 1), &image, Holding::Direct);
    for (generation, served) in [(1, 0), (2, 1), (3, 0)] {
        host.done(Command::Commit { generation, ends: None });
        host.card.port_in(0, &frame(7, 1), host.now);
        assert_eq!(host.left(1).len(), served, "generation {generation}");
        let frames = host.receive_all();
        assert_eq!(frames.len(), 1 - served);
        assert!(frames.iter().all(|frame| frame.meta.generation == generation));
    }
}

#[test]
fn the_lowest_table_wins_and_alone_counts() {
    let mut host = Host::new("tiny");
    host.add(ternary(1, 1), &entry(1, 7, 2), Holding::Direct);
    host.add(ternary(0, 2), &entry(2, 7, 4), Holding::Direct);
    let (mask, value) = matching(1, 7);
    let operand = host.operand(&mask);
    host.done(Command::SetMask { table: 1, mask: operand });
    let slots = Profile::named("tiny").unwrap().banks[1].slots;
    let exact = EntryRef { table: 1, place: slots * 4, id: 3 };
    let image = EntryImage { mask: [0; 64], matching: value, ..entry(3, 7, 8) };
    assert_eq!(host.add(exact, &image, Holding::Direct).status, 0);
    for (at, port) in [(exact, 3), (ternary(0, 2), 2), (ternary(1, 1), 1)] {
        host.card.port_in(0, &frame(7, 1), host.now);
        assert_eq!(host.left(port).len(), 1);
        let deleted = host.done(Command::Delete { at, until: None });
        assert_eq!(deleted.counters.unwrap().packets, 1);
    }
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!(host.receive_all().len(), 1);
}

#[test]
fn frames_longer_than_a_port_allows_are_dropped_and_counted() {
    let mut host = Host::new("tiny");
    host.add(ternary(0, 1), &entry(1, 7, 2), Holding::Direct);
    let mut settings = twinpath_abi::port::SetPort {
        index: 1,
        number: 2,
        enabled: true,
        mtu_in: 9216,
        mtu_out: 59,
    };
    host.done(Command::SetPort(settings));
    host.card.port_in(0, &frame(7, 1), host.now);
    (settings.mtu_in, settings.mtu_out) = (59, 60);
    host.done(Command::SetPort(settings));
    host.card.port_in(0, &frame(7, 2), host.now);
    host.card.port_in(1, &frame(7, 3), host.now);
    host.settle();
    assert_eq!(host.left(1), [frame(7, 2)]);
    assert_eq!(host.port_counter(1, reg::port::TX_TOO_LONG), 1);
    assert_eq!(host.port_counter(1, reg::port::RX_TOO_LONG), 1);
    assert_eq!(host.port_counter(0, reg::port::DECIDED), 2);
}

#[test]
fn a_commit_switches_all_entries_between_two_packets() {
    let mut host = Host::new("tiny");
    host.add(ternary(0, 1), &entry(1, 7, 2), Holding::Direct);
    let new = EntryImage { from: 1, ..entry(2, 7, 4) };
    host.add(ternary(1, 2), &new, Holding::Direct);
    host.post(Command::Delete { at: ternary(0, 1), until: Some(1) });
    host.settle();
    assert_eq!(host.completion(), None);
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!(host.left(1).len(), 1);
    host.post(Command::Commit { generation: 1, ends: Some(1) });
    host.settle();
    let deleted = host.completion().unwrap();
    assert_eq!((deleted.opcode, deleted.counters.unwrap().packets), (opcode::DELETE, 1));
    assert_eq!(host.completion().unwrap().opcode, opcode::COMMIT);
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!((host.left(1).len(), host.left(2).len()), (0, 1));
    assert_eq!(host.memory.read32(reg::GENERATION.offset), 1);
    let again = host.command(Command::Commit { generation: 1, ends: None });
    assert_eq!(again.status, Status::BadGeneration as u16);
}

#[test]
fn a_commit_that_names_another_number_of_deletes_is_refused() {
    let mut host = Host::new("tiny");
    host.add(ternary(0, 1), &entry(1, 7, 2), Holding::Direct);
    let missing = host.command(Command::Delete { at: ternary(1, 2), until: Some(1) });
    assert_eq!(missing.status, Status::NoEntry as u16, "counts all the same");
    host.post(Command::Delete { at: ternary(0, 1), until: Some(1) });
    for (ends, status) in [(1, Status::DeletesMissing), (3, Status::DeletesMissing)] {
        let refused = host.command(Command::Commit { generation: 1, ends: Some(ends) });
        assert_eq!(refused.status, status as u16, "{ends}");
    }
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!(host.left(1).len(), 1, "nothing has changed");
    host.post(Command::Commit { generation: 1, ends: Some(2) });
    host.settle();
    assert_eq!(host.completion().unwrap().opcode, opcode::DELETE);
    assert_eq!(host.completion().unwrap().status, Status::Done as u16);
    let next = host.command(Command::Commit { generation: 2, ends: Some(0) });
    assert_eq!(next.status, Status::Done as u16);
}

#[test]
fn a_full_receive_ring_drops_and_counts() {
    let mut host = Host::new("tiny");
    for _ in 0..host::SLOTS + 3 {
        host.card.port_in(0, &frame(7, 1), host.now);
    }
    host.settle();
    assert_eq!(host.receive_all().len(), host::SLOTS as usize);
    assert_eq!(host.port_counter(0, reg::port::RX_OVERRUN), 3);
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!(host.receive_all().len(), 1);
}

#[test]
fn every_command_but_a_sweep_works_through_the_window() {
    let mut host = Host::new("tiny");
    let mut submitted = 0;
    let mut through = |host: &mut Host, command: Command, image: Option<&[u8]>| {
        let store = |offset: u32, bytes: &[u8]| {
            for (index, word) in (0_u32..).zip(bytes.as_chunks::<4>().0) {
                host.memory.write32(offset + index * 4, u32::from_le_bytes(*word));
            }
        };
        store(reg::WINDOW_COMMAND, &command.encode(77));
        store(reg::WINDOW_IMAGE, image.unwrap_or(&[]));
        submitted += 1;
        host.memory.write32(reg::WINDOW_SUBMIT.offset, submitted);
        host.settle();
        assert_eq!(host.memory.read32(reg::WINDOW_DONE.offset), submitted);
        let mut bytes = [0; COMPLETION_BYTES];
        for (word, offset) in
            bytes.as_chunks_mut::<4>().0.iter_mut().zip((reg::WINDOW_COMPLETION..).step_by(4))
        {
            *word = host.memory.read32(offset).to_le_bytes();
        }
        let completion = Completion::decode(&bytes);
        assert_eq!(completion.tag, 77);
        completion
    };
    let at = ternary(0, 5);
    let image = entry(5, 7, 2).encode();
    let add = Command::Add { at, holding: Holding::Direct, image: Operand::Window };
    assert_eq!(through(&mut host, add, Some(&image)).status, 0);
    let read = Command::ReadEntry { table: 2, place: 0, image: Operand::Window };
    let found = through(&mut host, read, None);
    assert_eq!((found.entry, found.counters.unwrap().last_hit), (5, NEVER));
    let mut back = [0; ENTRY_BYTES];
    for (word, offset) in back.as_chunks_mut::<4>().0.iter_mut().zip((0x1100..).step_by(4)) {
        *word = host.memory.read32(offset).to_le_bytes();
    }
    assert_eq!(back, image);
    let sweep = Command::Sweep { first: 0, address: 0, length: 64 };
    assert_eq!(through(&mut host, sweep, None).status, Status::NeedsDma as u16);
}

#[test]
fn a_reset_empties_the_card_and_bypass_keeps_its_entries() {
    let mut host = Host::new("tiny");
    host.add(ternary(0, 5), &entry(5, 7, 2), Holding::Direct);
    host.memory.write32(reg::CONTROL.offset, reg::control::RINGS);
    host.settle();
    assert_eq!(host.memory.read32(reg::STATUS.offset) & reg::status::BYPASS, reg::status::BYPASS);
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!((host.left(1).len(), host.receive_all().len()), (0, 1));
    host.memory.write32(reg::CONTROL.offset, reg::control::RINGS | reg::control::TABLES);
    host.settle();
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!((host.left(1).len(), host.receive_all().len()), (1, 0));
    host.bring_up();
    assert_eq!(host.memory.read32(reg::EPOCH.offset), 2);
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!((host.left(1).len(), host.receive_all().len()), (0, 1));
    assert_eq!(host.port_counter(0, reg::port::DECIDED), 1);
}

#[test]
fn a_ttl_at_the_threshold_is_an_exception_that_does_not_count() {
    let mut host = Host::new("tiny");
    let mut image = entry(5, 7, 2);
    image.edit.ttl_decrements = 1;
    image.edit.ttl_threshold = Some(1);
    host.add(ternary(0, 5), &image, Holding::Direct);
    let mut last = frame(7, 1);
    last[22] = 1;
    host.card.port_in(0, &last, host.now);
    let frames = host.receive_all();
    assert_eq!(frames[0].bytes, last);
    assert_eq!(frames[0].meta.reason, Some(ReceiveReason::Exception));
    host.card.port_in(0, &frame(7, 1), host.now);
    assert_eq!(host.left(1)[0][22], 63);
    let deleted = host.done(Command::Delete { at: ternary(0, 5), until: None });
    assert_eq!(deleted.counters.unwrap().packets, 1);
    assert_eq!(image.until, FOREVER);
}

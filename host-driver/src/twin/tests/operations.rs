//! Flow operations: what the card holds afterwards, and how each ends.

use super::{Rig, Seen, entry, key, mask};
use crate::nic::SmartNic;
use std::sync::Arc;
use twinpath_abi::command::opcode;
use twinpath_abi::completion::Status;
use twinpath_flow::card::{EntryId, Event, FlowOp, Generation, OpTag, Refusal};
use twinpath_flow::counters::Counts;
use twinpath_flow::edit::Edit;
use twinpath_flow::key::Line;

#[test]
fn an_added_entry_serves_counts_and_leaves_with_its_final_counts() {
    let mut rig = Rig::up();
    rig.set_mask(0, mask()).unwrap();
    let add = rig.add(entry(0, 7, 0x0a00_0001), false);
    rig.run(1);
    assert!(rig.result(add).unwrap().unwrap().fence.is_none());
    assert_eq!(rig.card.hit(&key(0x0a00_0001).head.0), Some(7));
    assert_eq!(rig.card.hit(&key(0x0a00_0002).head.0), None);
    let delete = rig.delete(7, None);
    rig.run(1);
    let counts = rig.result(delete).unwrap().unwrap().counts;
    assert_eq!(counts, Some(Counts { packets: 1, bytes: 100 }));
    assert_eq!(rig.card.hit(&key(0x0a00_0001).head.0), None);
}

#[test]
fn modify_returns_the_counts_so_far_and_they_go_on() {
    let mut rig = Rig::up();
    rig.set_mask(0, mask()).unwrap();
    rig.add(entry(0, 7, 1), false);
    rig.run(1);
    rig.card.hit(&key(1).head.0);
    let tag = rig.tag();
    let edit = Arc::new(Edit::default());
    let done = rig.operate(FlowOp::Modify { tag, id: EntryId(7), edit, ttl_threshold: None });
    assert_eq!(done.unwrap().counts, Some(Counts { packets: 1, bytes: 100 }));
    rig.card.hit(&key(1).head.0);
    let delete = rig.delete(7, None);
    rig.run(1);
    let counts = rig.result(delete).unwrap().unwrap().counts;
    assert_eq!(counts, Some(Counts { packets: 2, bytes: 200 }));
}

#[test]
fn operations_on_what_is_not_there_are_refused_by_the_driver() {
    let mut rig = Rig::up();
    let delete = rig.delete(3, None);
    let full_mask = rig.add(entry(0, 1, 1), false);
    let no_table = rig.add(entry(9, 1, 1), false);
    rig.run(1);
    assert_eq!(rig.result(delete), Some(Err(Refusal::NoEntry)));
    assert_eq!(rig.result(full_mask), Some(Err(Refusal::Unsupported)), "mask not set");
    assert_eq!(rig.result(no_table), Some(Err(Refusal::Unsupported)));
    rig.set_mask(0, mask()).unwrap();
    let first = rig.add(entry(0, 1, 1), false);
    let twice = rig.add(entry(0, 1, 2), false);
    rig.run(1);
    assert!(rig.result(first).unwrap().is_ok());
    assert_eq!(rig.result(twice), Some(Err(Refusal::Exists)));
    assert_eq!(rig.set_mask(0, Line::ZERO), Err(Refusal::Card(9)), "bank is not empty");
    assert_eq!(rig.set_mask(2, Line::ZERO), Err(Refusal::Unsupported), "ternary");
    rig.delete(1, None);
    let gone = rig.delete(1, None);
    rig.run(1);
    assert_eq!(rig.result(gone), Some(Err(Refusal::NoEntry)));
}

#[test]
fn a_bank_fills_with_moves_and_every_entry_stays_findable_with_its_counts() {
    let mut rig = Rig::up();
    rig.set_mask(0, mask()).unwrap();
    let mut placed = Vec::new();
    for number in 0..260_u32 {
        let tag = rig.add(entry(0, number, 0x0a00_0000 + number), false);
        rig.run(1);
        match rig.result(tag).unwrap() {
            Ok(_) => placed.push(number),
            Err(refusal) => assert_eq!(refusal, Refusal::TableFull),
        }
        for number in &placed {
            assert_eq!(rig.card.hit(&key(0x0a00_0000 + number).head.0), Some(*number));
        }
    }
    assert!(placed.len() >= 247, "{} of 260 placed", placed.len());
    assert_eq!(rig.card.refusals, []);
    let mut expected = 260;
    for number in placed {
        let delete = rig.delete(number, None);
        rig.run(1);
        let counts = rig.result(delete).unwrap().unwrap().counts.unwrap();
        assert!(counts.packets <= expected, "hit in every round since its add");
        expected = counts.packets;
    }
}

#[test]
fn a_batch_of_adds_with_moves_is_carried_out_in_order() {
    let mut rig = Rig::up();
    rig.set_mask(1, mask()).unwrap();
    let mut ops = Vec::new();
    for number in 0..64 {
        let entry = Box::new(entry(1, number, 0x0a00_0000 + number));
        ops.push(FlowOp::Add { tag: OpTag(100 + u64::from(number)), entry, hold: false });
    }
    let mut rest = &ops[..];
    while !rest.is_empty() {
        let taken = rig.twin.submit(rig.now, rest);
        rest = &rest[taken..];
        rig.run(1);
    }
    rig.run(1);
    assert_eq!(rig.card.refusals, []);
    let mut served = 0;
    for number in 0..64 {
        let result = rig.result(OpTag(100 + u64::from(number))).unwrap();
        let hit = rig.card.hit(&key(0x0a00_0000 + number).head.0);
        assert_eq!(hit, result.is_ok().then_some(number));
        served += u32::from(result.is_ok());
    }
    assert!(served >= 60, "{served} of 64");
}

#[test]
fn back_pressure_takes_a_prefix_and_every_operation_ends_once() {
    let mut rig = Rig::up();
    rig.card.deaf = true;
    let add = |number: u32| FlowOp::Add {
        tag: OpTag(u64::from(number)),
        entry: Box::new(entry(2, number, number)),
        hold: false,
    };
    let ops: Vec<_> = (0..200).map(add).collect();
    let taken = rig.twin.submit(rig.now, &ops);
    // 8 places, so 8 commands; the other operations are refused by the driver itself.
    assert_eq!(taken, 200);
    let commit = |number: u32| FlowOp::Commit {
        tag: OpTag(1000 + u64::from(number)),
        generation: Generation(number + 1),
    };
    let ops: Vec<_> = (0..200).map(commit).collect();
    let taken = rig.twin.submit(rig.now, &ops);
    assert!(taken < 64, "{taken} taken by a ring of 64");
    rig.card.deaf = false;
    rig.run(1);
    for tag in (0..200).chain(1000..1000 + taken as u64) {
        assert!(rig.result(OpTag(tag)).is_some(), "{tag}");
    }
    assert!(rig.events.is_empty());
    assert!(rig.twin.submit(rig.now, &ops[taken..]) >= taken);
}

#[test]
fn deletes_until_a_generation_end_with_its_commit() {
    let mut rig = Rig::up();
    rig.set_mask(0, mask()).unwrap();
    // More than the completion ring holds.
    for number in 0..200 {
        rig.add(entry(0, number, number), false);
        rig.run(1);
    }
    rig.events.clear();
    let deletes: Vec<_> = (0..200)
        .map(|number| {
            rig.run(1);
            rig.delete(number, Some(5))
        })
        .collect();
    rig.run(2_000);
    assert!(rig.events.is_empty(), "nothing ends before the commit, however long it takes");
    assert_eq!(rig.card.hit(&key(3).head.0), Some(3));
    let mut replacement = entry(1, 1_000, 3);
    replacement.from = Generation(5);
    rig.set_mask(1, mask()).unwrap();
    rig.add(replacement, false);
    rig.run(1);
    let commit = rig.commit(5);
    rig.run(3);
    assert!(rig.result(commit).unwrap().is_ok());
    for (number, tag) in deletes.into_iter().enumerate() {
        let counts = rig.result(tag).unwrap().unwrap().counts.unwrap();
        assert_eq!(counts.packets, u64::from(number == 3));
    }
    assert_eq!(rig.card.hit(&key(3).head.0), Some(1_000));
}

#[test]
fn a_held_add_names_a_fence_and_release_ends_it() {
    let mut rig = Rig::up();
    rig.set_mask(0, mask()).unwrap();
    rig.card.deliver(0, &[1; 60], |_| {});
    rig.card.deliver(0, &[2; 60], |_| {});
    rig.card.deliver(1, &[3; 60], |_| {});
    let add = rig.add(entry(0, 1, 1), true);
    rig.run(1);
    let fence = rig.result(add).unwrap().unwrap().fence.unwrap();
    assert_eq!(fence.delivered[..3], [2, 1, 0]);
    let mut queues = rig.twin.take_queues();
    let frame = crate::nic::TxFrame { port: twinpath_flow::port::PortNo(4), data: &[0; 60] };
    // The card checks that the release names what was sent before it.
    assert_eq!(queues[0].tx_burst(&[frame; 3]), 3);
    let tag = rig.tag();
    assert!(rig.operate(FlowOp::Release { tag, id: EntryId(1) }).is_ok());
    let tag = rig.tag();
    let again = rig.operate(FlowOp::Release { tag, id: EntryId(1) });
    assert_eq!(again, Err(Refusal::Card(16)));
    // An entry that is no longer held cannot overflow: a card that says so is not believed.
    rig.card.complete((0, opcode::HOLD_OVERFLOW), Status::HoldOverflow, None, 1);
    rig.run(1);
    assert_eq!(rig.events, []);
    assert_eq!(rig.card.hit(&key(1).head.0), Some(1));
}

#[test]
fn an_overflowed_hold_is_reported_and_the_place_is_free_again() {
    let mut rig = Rig::up();
    let mut refused = Vec::new();
    for number in 0..8 {
        refused.push(rig.add(entry(2, number, number), number == 0));
    }
    rig.run(1);
    rig.events.clear();
    rig.card.overflow(0);
    rig.run(1);
    assert_eq!(rig.events, [Event::HoldCancelled { id: EntryId(0) }]);
    let again = rig.add(entry(2, 0, 0), false);
    rig.run(1);
    assert!(rig.result(again).unwrap().is_ok());
    let full = rig.add(entry(2, 99, 99), false);
    rig.run(1);
    assert_eq!(rig.result(full), Some(Err(Refusal::TableFull)));
}

#[test]
fn a_sweep_reports_every_entry_with_its_last_hit() {
    let mut rig = Rig::up();
    rig.set_mask(0, mask()).unwrap();
    for number in 0..3 {
        rig.add(entry(0, number + 10, number), false);
    }
    rig.run(1);
    rig.card.hit(&key(1).head.0);
    let hit_at = rig.now;
    let mut seen = Seen::default();
    assert_eq!(rig.twin.sweep_counters(rig.now, &mut seen), None);
    rig.run(2);
    let as_of = twinpath_flow::time::Time(hit_at.0 + 1_000_000);
    // An entry that leaves, and one that takes its counter, after the sweep: neither is reported.
    rig.delete(12, None);
    rig.run(1);
    rig.add(entry(0, 50, 2), false);
    rig.run(1);
    let sweep = rig.twin.sweep_counters(rig.now, &mut seen).unwrap();
    assert!(sweep.complete);
    assert_eq!(sweep.as_of, as_of);
    let reported: Vec<_> =
        seen.0.iter().map(|entry| (entry.id.0, entry.counts.packets, entry.last_hit)).collect();
    assert_eq!(reported, [(10, 0, None), (11, 1, Some(hit_at))]);
    assert_eq!(rig.twin.capabilities().tables[0].name, "bank 0");
}

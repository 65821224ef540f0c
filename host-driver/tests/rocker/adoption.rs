//! The driver's process is killed at any of its writes; the next one goes on with the same switch.

use crate::model::Device;
use crate::rig::{
    And, PORTS, Rig, Sink, bring_up, entry, frame, from, physical, ports, set, to, trusting,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use twinpath_flow::card::{EntryId, Event, FlowOp, Inheritance, OpTag};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::MaskedKey;
use twinpath_flow::port::PortTable;
use twinpath_flow::sample::Random;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::SmartNic;
use twinpath_host_driver::rocker::RockerNic;

type Wanted = BTreeMap<u32, (MaskedKey, Edit)>;

/// An entry of any kind: plain, rewritten, tagged, flooded, dropping.
fn any_entry(random: &mut Random, id: u32) -> (MaskedKey, Edit) {
    let at = from(PORTS[0]).and(Field::EthDst, 0x0200_0000_0000 + u128::from(id));
    let mac = 0x0200_0000_0100 + random.below(3) as u128;
    let edit = match random.below(6) {
        0 => to(&[]),
        1 => to(&[PORTS[1]]),
        2 => to(&[PORTS[1], PORTS[2]]),
        3 => set(to(&[PORTS[2]]), Field::EthSrc, mac),
        4 => set(to(&[PORTS[1], PORTS[2]]), Field::EthDst, mac),
        _ => set(set(to(&[PORTS[1]]), Field::EthDst, mac), Field::EthSrc, mac + 1),
    };
    (at, edit)
}

/// The next process: what it found, with the entries of `wanted` claimed.
fn take_over(device: &Arc<Device>, wanted: &Wanted) -> (RockerNic<Device>, Inheritance) {
    device.begin_process();
    let mut nic = RockerNic::adopt(Arc::clone(device), ports(), trusting());
    let mut events = Vec::new();
    nic.poll(Time::from_secs(9), &mut events);
    assert!(matches!(events[0], Event::Up(_)), "{events:?} {:?}", nic.why_reset());
    let found = nic.take_inheritance().unwrap();
    for inherited in &found.entries {
        match wanted.get(&inherited.id.0) {
            Some((matching, edit)) if *matching == inherited.matching => {
                nic.claim(&entry(inherited.id.0, *matching, edit.clone()));
            }
            _ => nic.disown(inherited.id),
        }
    }
    nic.poll(Time::from_secs(10), &mut events);
    assert_eq!(nic.why_reset(), None);
    (nic, found)
}

fn deletes(ids: impl Iterator<Item = u32>) -> Vec<FlowOp> {
    let delete = |id: u32| FlowOp::Delete { tag: OpTag(id.into()), id: EntryId(id), until: None };
    ids.map(delete).collect()
}

/// Lives through random operations, is killed within one of them, and is succeeded.
fn live(seed: u64) {
    let mut random = Random::new(seed);
    let mut rig = Rig::new();
    let standing = rig.device.holds();
    let (mut wanted, mut unsure) = (Wanted::new(), None);
    let fuse = random.below(1_500) as u64;
    rig.device.state().fuse = Some(fuse);
    while rig.device.state().fuse != Some(0) {
        let id = 1 + random.below(12) as u32;
        let tag = OpTag(1_000 + u64::from(id));
        let (matching, edit) = any_entry(&mut random, id);
        let (op, after) = match wanted.get(&id) {
            None => {
                let entry = Box::new(entry(id, matching, edit.clone()));
                (FlowOp::Add { tag, entry, hold: false }, Some((matching, edit)))
            }
            Some(_) if random.chance(50) => {
                (FlowOp::Delete { tag, id: EntryId(id), until: None }, None)
            }
            Some(_) => {
                let edit = Arc::new(edit);
                let op = FlowOp::Modify {
                    tag,
                    id: EntryId(id),
                    edit: Arc::clone(&edit),
                    ttl_threshold: None,
                };
                (op, Some((matching, (*edit).clone())))
            }
        };
        rig.nic.submit(rig.now, &[op]);
        if rig.device.state().fuse == Some(0) {
            unsure = Some(id);
        } else {
            match after {
                Some(after) => _ = wanted.insert(id, after),
                None => _ = wanted.remove(&id),
            }
        }
        rig.poll();
    }
    drop(std::mem::replace(&mut rig.nic, idle()));
    // The switch goes on by itself: what no entry takes waits for the next driver.
    let miss = |number| frame(0xee, number, &[0x1234], b"wait");
    (0..5).for_each(|number| rig.device.inject(1, &miss(number)));
    let (mut nic, found) = take_over(&rig.device, &wanted);
    for id in wanted.keys().filter(|id| unsure != Some(**id)) {
        assert!(found.entries.iter().any(|entry| entry.id.0 == *id), "seed {seed}: {id} is lost");
    }
    let mut queue = nic.take_queues().pop().unwrap();
    let mut sink = Sink(Vec::new());
    while queue.rx_burst(64, &mut sink).unwrap() > 0 {}
    let frames: Vec<_> = sink.0.into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(frames, (0..5).map(miss).collect::<Vec<_>>(), "seed {seed}");
    // Each entry that stayed is known whole: nothing is left of it when it is deleted.
    let ids = deletes(1..=12);
    assert_eq!(nic.submit(rig.now, &ids), ids.len());
    assert_eq!(rig.device.holds(), standing, "seed {seed}: orphans");
    let mut events = Vec::new();
    nic.poll(rig.now, &mut events);
    let is_sick = |event: &Event| matches!(event, Event::Dead(_) | Event::ResetRequest);
    assert!(!events.iter().any(is_sick), "seed {seed}: {events:?}");
}

/// A driver of another device, to take the place of one that is gone.
fn idle() -> RockerNic<Device> {
    RockerNic::attach(Arc::new(Device::new(4)), ports(), trusting())
}

#[test]
fn whatever_was_done_before_a_kill_is_known_to_the_next_driver_and_nothing_else_stays() {
    (0..300).for_each(live);
}

#[test]
fn entries_forward_while_nobody_is_there_and_are_not_touched_by_the_takeover() {
    let mut rig = Rig::new();
    let wanted: Wanted =
        (1..=4).map(|id| (id, any_entry(&mut Random::new(id.into()), id))).collect();
    for (id, (matching, edit)) in &wanted {
        rig.add(*id, *matching, edit.clone()).unwrap();
    }
    let holds = rig.device.holds();
    let commands = rig.device.state().commands;
    rig.nic.leave();
    drop(std::mem::replace(&mut rig.nic, idle()));
    assert_eq!(rig.device.holds(), holds, "an ordinary end leaves the switch as it is");
    let (nic, found) = take_over(&rig.device, &wanted);
    assert_eq!((found.entries.len(), found.strays), (4, 0));
    assert_eq!((rig.device.holds(), rig.device.state().commands), (holds, commands));
    drop(nic);
    assert_ne!(rig.device.holds(), holds, "a driver that was not told to leaves it empty");
}

#[test]
fn a_switch_that_is_not_as_noted_is_reset() {
    type Change = fn(&Device) -> (PortTable, &'static str);
    let changes: [Change; 4] = [
        |device| {
            device.forget_everything();
            (ports(), "was reset meanwhile")
        },
        |_| (PortTable::new(vec![physical(10), physical(20), physical(31)]).unwrap(), "otherwise"),
        |_| (PortTable::new(vec![physical(10), physical(20)]).unwrap(), "was reset meanwhile"),
        |device| {
            let mut state = device.state();
            // Somebody wrote over the notes.
            let at = state.memory_of(b"RKNOTES1");
            state.scribble(at + 4096 + 40);
            (ports(), "otherwise")
        },
    ];
    for change in changes {
        let mut rig = Rig::new();
        rig.add(1, from(PORTS[0]), to(&[PORTS[1]])).unwrap();
        rig.nic.leave();
        drop(std::mem::replace(&mut rig.nic, idle()));
        let (table, reason) = change(&rig.device);
        rig.device.begin_process();
        let mut nic = RockerNic::adopt(Arc::clone(&rig.device), table, trusting());
        let events = bring_up(&mut nic, Time::from_secs(9));
        assert!(matches!(events[0], Event::Up(_)), "{events:?}");
        assert!(nic.why_reset().unwrap().contains(reason), "{:?}", nic.why_reset());
        assert_eq!(nic.take_inheritance(), None);
    }
}

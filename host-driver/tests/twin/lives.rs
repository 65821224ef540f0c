//! Random lives: every operation ends exactly once, as a model says, and the card serves exactly
//! the entries the model has; no packet is counted twice or not at all.

use crate::rig::Rig;
use crate::world::{World, entry, number, profile, udp};
use proptest::prelude::{Strategy, any};
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use twinpath_flow::card::{EntryId, FlowOp, Generation, OpTag, Refusal};
use twinpath_host_driver::nic::SmartNic;

/// Addresses in use: few, so that operations meet.
const TARGETS: u32 = 40;

#[derive(Clone, Copy, Debug)]
enum Step {
    Add { target: u32, hold: bool },
    Delete(u32),
    DeleteUntil(u32),
    Modify(u32),
    Release(u32),
    Commit,
    Packet(u32),
    Wait(u64),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    (0_u8..100, 0..TARGETS, any::<bool>()).prop_map(|(kind, target, flag)| match kind {
        0..30 => Step::Add { target, hold: kind < 5 },
        30..45 => Step::Delete(target),
        45..50 => Step::DeleteUntil(target),
        50..56 => Step::Modify(target),
        56..64 => Step::Release(target),
        64..67 => Step::Commit,
        67..90 => Step::Packet(target),
        90..99 => Step::Wait(if flag { 1 } else { 5 }),
        _ => Step::Reset,
    })
}

/// What should be in the card.
#[derive(Default)]
struct Model {
    /// Entry of a target, and packets it has decided.
    live: BTreeMap<u32, (EntryId, u64)>,
    /// Targets whose entry waits for its release.
    held: BTreeSet<u32>,
    /// Targets whose entry ends with the next commit, and the operation that says so.
    ending: BTreeMap<u32, OpTag>,
    next_id: u32,
    generation: u32,
}

/// A world and what it should be.
struct Life<R: Rig> {
    world: World<R>,
    model: Model,
}

impl<R: Rig> Life<R> {
    fn take(&mut self, step: Step) {
        match step {
            Step::Add { target, hold } => self.add(target, hold),
            Step::Delete(target) => self.delete(target),
            Step::DeleteUntil(target) => self.delete_until(target),
            Step::Modify(target) => self.modify(target),
            Step::Release(target) => self.release(target),
            Step::Commit => self.commit(),
            Step::Packet(target) => self.packet(target),
            Step::Wait(steps) => self.world.run(steps),
            Step::Reset => self.reset(),
        }
    }

    /// Entry of a target that no operation is ending.
    fn staying(&self, target: u32) -> Option<EntryId> {
        let entry = self.model.live.get(&target).map(|(id, _)| *id);
        entry.filter(|_| !self.model.ending.contains_key(&target))
    }

    fn add(&mut self, target: u32, hold: bool) {
        if self.model.live.contains_key(&target) {
            return;
        }
        let mut wanted = entry(self.model.next_id, target);
        self.model.next_id += 1;
        wanted.from = Generation(self.model.generation);
        let (tag, id) = (self.world.tag(), wanted.id);
        let op = FlowOp::Add { tag, entry: Box::new(wanted), hold };
        // Refused when the table or the hold queues are full.
        if self.world.operate(op).is_ok() {
            self.model.live.insert(target, (id, 0));
            if hold {
                self.model.held.insert(target);
            }
        }
    }

    fn delete(&mut self, target: u32) {
        let Some(id) = self.staying(target) else { return };
        let tag = self.world.tag();
        let done = self.world.operate(FlowOp::Delete { tag, id, until: None }).unwrap();
        let (_, packets) = self.model.live.remove(&target).unwrap();
        assert_eq!(done.counts.unwrap().packets, packets);
        self.model.held.remove(&target);
    }

    fn delete_until(&mut self, target: u32) {
        let free = !self.model.held.contains(&target);
        let Some(id) = self.staying(target).filter(|_| free) else { return };
        let (tag, until) = (self.world.tag(), Some(Generation(self.model.generation + 1)));
        self.world.submit(FlowOp::Delete { tag, id, until });
        self.model.ending.insert(target, tag);
    }

    fn modify(&mut self, target: u32) {
        let Some(id) = self.staying(target) else { return };
        let (tag, edit) = (self.world.tag(), Arc::clone(&entry(0, 0).edit));
        let done = self.world.operate(FlowOp::Modify { tag, id, edit, ttl_threshold: None });
        assert_eq!(done.unwrap().counts.unwrap().packets, self.model.live[&target].1);
    }

    fn release(&mut self, target: u32) {
        if self.model.held.remove(&target) {
            let (tag, id) = (self.world.tag(), self.model.live[&target].0);
            self.world.operate(FlowOp::Release { tag, id }).unwrap();
        }
    }

    fn commit(&mut self) {
        self.model.generation += 1;
        self.world.commit(self.model.generation).unwrap();
        for (target, tag) in std::mem::take(&mut self.model.ending) {
            let (_, packets) = self.model.live.remove(&target).unwrap();
            let done = self.world.result(tag).expect("ends before the commit").unwrap();
            assert_eq!(done.counts.unwrap().packets, packets);
        }
    }

    fn packet(&mut self, target: u32) {
        // A held entry's packets are counted when they leave; keep its queue from overflowing.
        if self.model.held.contains(&target) {
            return;
        }
        self.world.send(0, &udp(target, target));
        if let Some((_, packets)) = self.model.live.get_mut(&target) {
            *packets += 1;
        }
    }

    fn reset(&mut self) {
        self.world.twin.reset(self.world.now).unwrap();
        self.world.twin.poll(self.world.now, &mut self.world.events);
        for tag in self.model.ending.values() {
            assert_eq!(self.world.result(*tag), Some(Err(Refusal::Reset)));
        }
        self.model = Model { next_id: self.model.next_id, ..Model::default() };
        assert!(self.world.events.is_empty(), "{:?}", self.world.events);
        self.world.come_up();
    }

    /// Every packet meets what the model says, and every counter has what passed.
    fn end(mut self) {
        self.commit();
        for target in 0..TARGETS {
            self.release(target);
        }
        self.world.out(1);
        self.world.received();
        for target in 0..TARGETS {
            self.world.send(0, &udp(target, target));
            let served: Vec<_> = self.world.out(1).iter().map(|frame| number(frame)).collect();
            let expected: Vec<_> =
                self.model.live.contains_key(&target).then_some(target).into_iter().collect();
            assert_eq!(served, expected, "target {target}");
        }
        for (id, packets) in self.model.live.values() {
            let counts = self.world.delete(id.0).unwrap().counts.unwrap();
            assert_eq!(counts.packets, packets + 1, "{id:?}");
        }
        assert!(self.world.sweep().1.is_empty());
        assert!(self.world.events.is_empty(), "{:?} left over", self.world.events);
    }
}

pub(crate) fn random_lives_end_every_operation_once_and_leave_the_card_as_the_model_says<R: Rig>() {
    let steps = proptest::collection::vec(step(), 1..250);
    let result = TestRunner::default().run(&steps, |steps| {
        let mut life = Life { world: World::<R>::new(profile(7, 1)), model: Model::default() };
        steps.into_iter().for_each(|step| life.take(step));
        life.end();
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

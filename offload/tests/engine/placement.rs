//! Which flows go where, and why others do not.

use crate::model::card::Faults;
use crate::model::shape::{PORTS, Shape, pipeline};
use crate::model::world::World;
use crate::timeouts::{SHAPE, key, run};
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{Capabilities, Done, Epoch, Event, FlowOp, Generation};
use twinpath_flow::edit::FoldError;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::port::PortNo;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId, Step};
use twinpath_flow::time::Time;
use twinpath_offload::why::ActionLack;
use twinpath_offload::{Engine, Input, Output, Settings, WhyNot};

/// Why a card with these capabilities does not take a flow with this mask and these steps.
fn why(can: &Capabilities, mask: Key, steps: Vec<Step>) -> Option<WhyNot> {
    let mut engine = Engine::new(Settings::default(), pipeline(&[RuleId(1)], 0, 0), Time(0));
    let (capabilities, epoch) = (Arc::new(can.clone()), Epoch(1));
    let up = Input::CardUp { capabilities, epoch, generation: Generation(0) };
    engine.handle(Time(0), up);
    let id = FlowId { index: 7, generation: 2 };
    let matching = MaskedKey::new(&Key::ZERO, mask);
    let flow = Arc::new(Flow { matching, steps, ttl_threshold: None, rules: vec![RuleId(1)] });
    let from = Generation(0);
    engine.handle(Time(0), Input::FlowMade { id, flow, key: Key::ZERO, from, until: None });
    while engine.poll_output().is_some() {}
    engine.flow(id).expect("just made").why_not
}

fn simple() -> Key {
    Key::ZERO.with(Field::InPort, 0xffff)
}

#[test]
fn each_lack_of_the_card_has_its_reason() {
    let shape = Shape { banks: 0, ternary_capacity: 1, ..SHAPE };
    let mut can = shape.capabilities();
    can.actions.set = vec![Field::EthDst, Field::IpTos];
    can.actions.outputs = 2;
    let out = |port| Step::Output(PortNo(port));
    let set = |field, value, mask| Step::Set { field, value, mask };
    let action = |lack| Some(WhyNot::ActionNotSupported(lack));
    let cases = [
        (vec![out(1)], Some(WhyNot::Pending)),
        (vec![], Some(WhyNot::Pending)),
        (vec![set(Field::EthDst, 5, (1 << 48) - 1), out(1)], Some(WhyNot::Pending)),
        (vec![set(Field::EthDst, 5, 7), out(1)], action(ActionLack::MaskedSet(Field::EthDst))),
        (vec![set(Field::IpTos, 4, 0xfc), out(1)], action(ActionLack::MaskedSet(Field::IpTos))),
        (vec![set(Field::EthSrc, 5, 7), out(1)], action(ActionLack::Set(Field::EthSrc))),
        (vec![Step::DecTtl, out(1)], action(ActionLack::TtlDecrements(1))),
        (vec![Step::PopVlan, out(1)], action(ActionLack::Pops(1))),
        (vec![Step::PushVlan(0x8100), out(1)], action(ActionLack::Pushes(1))),
        (vec![set(Field::VlanTci, 5, 0xfff), out(1)], action(ActionLack::Tci)),
        (vec![out(1), out(2), out(3)], action(ActionLack::Outputs(3))),
        (vec![out(1), out(1)], action(ActionLack::RepeatedOutput(PortNo(1)))),
        (vec![out(5000)], action(ActionLack::UnknownPort(PortNo(5000)))),
        (vec![Step::Controller { max_len: 9 }], action(ActionLack::Controller)),
        (vec![out(1), Step::DecTtl, out(2)], Some(WhyNot::NotFoldable(FoldError::EditAfterOutput))),
    ];
    for (steps, reason) in cases {
        assert_eq!(why(&can, simple(), steps.clone()), reason, "{steps:?}");
    }
    let tail = simple().with(Field::Qfi, 0xff);
    assert_eq!(why(&can, tail, vec![]), Some(WhyNot::FieldNotOffered(Field::Qfi)));
    can.tables[0].fields = Line::ZERO;
    assert_eq!(why(&can, simple(), vec![]), Some(WhyNot::FieldNotOffered(Field::InPort)));
    can.tables.clear();
    assert_eq!(why(&can, simple(), vec![]), Some(WhyNot::NoBank));
}

#[test]
fn without_a_card_every_flow_says_so() {
    let mut world = World::new(1, SHAPE, Settings::default());
    world.packet(&key(1, 1));
    let flow = world.engine.flows().next().expect("made");
    assert_eq!(flow.why_not, Some(WhyNot::NoCard));
}

#[test]
fn flows_of_more_masks_than_banks_are_served_packet_by_packet() {
    let shape = Shape { banks: 1, bank_capacity: 200, ternary_capacity: 0, ..SHAPE };
    for seed in 1..20 {
        let mut world = World::new(seed, shape, Settings::default());
        world.card_up(Faults::default());
        let send = |world: &mut World| {
            for port in 1..=PORTS {
                for (ip, l4) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    world.packet(&key(port, ip).with(Field::L4Dst, l4));
                }
            }
            run(world, Duration::from_millis(100));
        };
        for _ in 0..300 {
            send(&mut world);
        }
        // Flows with a second-line mask never fit; the others must be in the card by now.
        let fitting = |world: &World| {
            let flows = world.engine.flows().filter(|flow| !flow.flow.matching.uses_tail());
            flows.collect::<Vec<_>>()
        };
        for flow in fitting(&world) {
            let before = flow.counts.software.counts.packets;
            send(&mut world);
            world.report();
            let view = world.engine.flow(flow.id).expect("in use");
            let after = view.counts.software.counts.packets;
            assert!(after <= before + 1, "seed {seed}: {:?} {:?}", view.why_not, view.entries);
        }
    }
}

#[test]
fn a_flow_has_a_bounded_number_of_entries() {
    let shape = Shape { banks: 1, bank_capacity: 500, ternary_capacity: 0, ..SHAPE };
    let settings = Settings { specialisations: 4, ..Settings::default() };
    let mut world = World::new(8, shape, settings);
    world.card_up(Faults::default());
    for _ in 0..400 {
        let key = world.random_key();
        world.packet(&key);
        run(&mut world, Duration::from_millis(10));
        assert!(world.engine.flows().all(|flow| flow.entries.len() <= 4));
    }
    world.quiesce();
    world.check_quiet();
}

/// A flow was made; all have one mask.
fn made(index: u32) -> Input {
    let key = Key::ZERO.with(Field::TunId, index.into());
    let mask = Key::ZERO.with(Field::TunId, u128::from(u32::MAX));
    let matching = MaskedKey::new(&key, mask);
    let rules = vec![RuleId(1)];
    let flow = Arc::new(Flow { matching, steps: vec![], ttl_threshold: None, rules });
    let (id, from) = (FlowId { index, generation: 0 }, Generation(0));
    Input::FlowMade { id, flow, key, from, until: None }
}

#[test]
fn operations_under_way_are_bounded_and_removals_are_not_lost() {
    let settings = Settings { ops_in_flight: 4, ..Settings::default() };
    let mut engine = Engine::new(settings, pipeline(&[RuleId(1)], 0, 0), Time(0));
    let (capabilities, epoch) = (Arc::new(SHAPE.capabilities()), Epoch(1));
    engine.handle(Time(0), Input::CardUp { capabilities, epoch, generation: Generation(0) });
    for index in 0..100 {
        engine.handle(Time(0), made(index));
    }
    let mut operations = 0;
    while let Some(output) = engine.poll_output() {
        operations += usize::from(matches!(output, Output::Card(_)));
    }
    assert_eq!(operations, 4);
}

/// An engine with a card that is up, and what it was told to do so far.
struct Desk {
    engine: Engine,
    now: Time,
    operations: Vec<FlowOp>,
}

impl Desk {
    fn new(shape: Shape) -> Self {
        let engine = Engine::new(Settings::default(), pipeline(&[RuleId(1)], 0, 0), Time(0));
        let mut desk = Self { engine, now: Time(0), operations: Vec::new() };
        let (capabilities, epoch) = (Arc::new(shape.capabilities()), Epoch(1));
        desk.tell(Input::CardUp { capabilities, epoch, generation: Generation(0) });
        desk
    }

    /// Tells it something; asked for counters, it gets them without any.
    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Card(op) => self.operations.push(op),
                Output::SoftwareCountsWanted => {
                    self.engine.handle(self.now, Input::SoftwareReported);
                }
                Output::SweepWanted => self.engine.handle(self.now, Input::SweepFailed),
                _ => {}
            }
        }
    }

    fn make(&mut self, index: u32) {
        self.tell(made(index));
    }

    /// Time passes.
    fn wait(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(due) = self.engine.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tell(Input::Timeout);
        }
        self.now = end;
    }

    /// The card has done all it was told.
    fn answer(&mut self) {
        for op in std::mem::take(&mut self.operations) {
            let result = Ok(Done::default());
            self.tell(Input::Card(Event::Done { tag: op.tag(), result }));
        }
    }

    fn added(&self) -> usize {
        let is_add = |op: &&FlowOp| matches!(op, FlowOp::Add { .. });
        self.operations.iter().filter(is_add).count()
    }
}

#[test]
fn flows_seen_while_a_mask_is_on_its_way_are_offered_when_it_is_set() {
    let shape = Shape { banks: 2, bank_capacity: 1000, ternary_capacity: 0, ..SHAPE };
    // However many rounds the card takes to set it, and also when the next ends right after.
    for (rounds, pause) in [(0, 0), (1, 0), (5, 0), (0, 60), (1, 60)] {
        let mut desk = Desk::new(shape);
        (0..200).for_each(|index| desk.make(index));
        assert!(matches!(desk.operations[..], [FlowOp::SetMask { .. }]));
        desk.wait(rounds * Duration::from_millis(50));
        assert_eq!(desk.added(), 0, "after {rounds} rounds");
        desk.answer();
        desk.now = desk.now.after(Duration::from_millis(pause));
        desk.wait(Duration::from_millis(200));
        assert_eq!(desk.added(), 200, "after {rounds} rounds and {pause} ms");
    }
}

#[test]
fn flows_of_one_mask_fill_every_bank() {
    let shape = Shape { banks: 3, bank_capacity: 40, ternary_capacity: 8, ..SHAPE };
    let mut engine = Engine::new(Settings::default(), pipeline(&[RuleId(1)], 0, 0), Time(0));
    let (capabilities, epoch) = (Arc::new(shape.capabilities()), Epoch(1));
    engine.handle(Time(0), Input::CardUp { capabilities, epoch, generation: Generation(0) });
    for index in 0..150 {
        engine.handle(Time(0), made(index));
        while let Some(output) = engine.poll_output() {
            if let Output::Card(op) = output {
                let result = Ok(Done::default());
                engine.handle(Time(0), Input::Card(Event::Done { tag: op.tag(), result }));
            }
        }
    }
    let used: Vec<u32> = engine.tables().iter().map(|table| table.used).collect();
    assert_eq!(used, [40, 40, 40, 4], "the ternary table keeps half its places for other masks");
}

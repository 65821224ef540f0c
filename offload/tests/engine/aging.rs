//! Very many idle flows end a few at a time, and only those that are due are looked at; TCP
//! connections that end take their flows along.

use crate::model::shape::{output_of, pipeline};
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId, Step};
use twinpath_flow::time::Time;
use twinpath_offload::{Engine, Input, Output, Settings, WhyNot};

const FLOWS: u32 = 1_000_000;

/// Flows that end after one input at most: a bound that a person would not notice.
const AT_ONCE: usize = 32;

struct Ager {
    engine: Engine,
    /// What the flows are that [`Self::made`] makes: without a card it does not matter.
    flow: Arc<Flow>,
    now: Time,
    removed: Vec<FlowId>,
    /// Flows used in software since the last report.
    used: Vec<(FlowId, Counts)>,
    /// Most flows that ended after one input.
    most: usize,
}

impl Ager {
    fn new() -> Self {
        let rules = [RuleId(1), RuleId(2), RuleId(3)];
        let settings = Settings { flow_idle: Duration::from_secs(2), ..Settings::default() };
        let engine = Engine::new(settings, pipeline(&rules, 0, 0), Time(0));
        let flow = Arc::new(Flow {
            matching: MaskedKey::default(),
            steps: vec![Step::Output(output_of(RuleId(1)))],
            ttl_threshold: None,
            rules: vec![RuleId(1)],
        });
        Self { engine, flow, now: Time(0), removed: Vec::new(), used: Vec::new(), most: 0 }
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        let before = self.removed.len();
        let mut wants_counts = false;
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::RemoveFlow { id, .. } => self.removed.push(id),
                Output::SoftwareCountsWanted => wants_counts = true,
                _ => {}
            }
        }
        self.most = self.most.max(self.removed.len() - before);
        if wants_counts {
            let now = self.now;
            for (id, counts) in std::mem::take(&mut self.used) {
                self.tell(Input::SoftwareCounts { id, counts, last_used: Some(now) });
            }
            self.tell(Input::SoftwareReported);
        }
    }

    fn made(&mut self, index: u32) {
        let (flow, key) = (Arc::clone(&self.flow), Key::ZERO);
        let id = FlowId { index, generation: 0 };
        self.tell(Input::FlowMade { id, flow, key, from: Generation(0), until: None });
    }

    /// A flow of one TCP connection, or of all connections of a host; its key with these flags.
    fn connection(&mut self, index: u32, ports: u128, flags: u128) -> Key {
        let key = Key::ZERO
            .with(Field::InPort, 1)
            .with(Field::IpProto, 6)
            .with(Field::IpSrc, 5)
            .with(Field::IpDst, index.into())
            .with(Field::L4Src, 7)
            .with(Field::L4Dst, 8);
        let mask = Key::ZERO
            .with(Field::InPort, 0xffff)
            .with(Field::IpProto, 0xff)
            .with(Field::IpSrc, u128::MAX)
            .with(Field::IpDst, u128::MAX)
            .with(Field::L4Src, ports)
            .with(Field::L4Dst, ports);
        let flow = Arc::new(Flow {
            matching: MaskedKey::new(&key, mask),
            steps: vec![Step::Output(output_of(RuleId(1)))],
            ttl_threshold: None,
            rules: vec![RuleId(1)],
        });
        let id = FlowId { index, generation: 0 };
        self.tell(Input::FlowMade { id, flow, key, from: Generation(0), until: None });
        key.with(Field::TcpFlags, flags)
    }

    /// Serves the engine's timeouts until `end`; how many there were.
    fn run(&mut self, end: Time) -> usize {
        let mut inputs = 0;
        while let Some(due) = self.engine.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tell(Input::Timeout);
            inputs += 1;
        }
        self.now = end;
        inputs
    }
}

#[test]
fn a_million_idle_flows_end_a_few_at_a_time_and_used_ones_stay() {
    let mut ager = Ager::new();
    (0..FLOWS).for_each(|index| ager.made(index));
    ager.run(Time::from_millis(1500));
    ager.used = (0..FLOWS)
        .step_by(10)
        .map(|index| (FlowId { index, generation: 0 }, Counts { packets: 2, bytes: 120 }))
        .collect();
    ager.run(Time::from_millis(1900));
    assert_eq!(ager.removed.len(), 0, "none is idle yet");
    ager.most = 0;
    let inputs = ager.run(Time::from_millis(3200));
    assert_eq!(ager.removed.len(), 900_000);
    assert!(ager.removed.iter().all(|id| id.index % 10 != 0), "a used flow ended");
    assert!((1..=AT_ONCE).contains(&ager.most), "{} at once", ager.most);
    // As many inputs as that takes, and a few rounds; not one per flow, nor one that does all.
    let least = FLOWS as usize / AT_ONCE;
    assert!((least..least + 200).contains(&inputs), "{inputs}");
    let ended = std::mem::take(&mut ager.removed);
    for id in ended {
        ager.tell(Input::FlowGone { id, counts: Counts::default(), last_used: None });
    }
    ager.run(Time::from_millis(3450));
    assert_eq!(ager.removed.len(), 0);
    ager.run(Time::from_secs(5));
    assert_eq!(ager.removed.len(), 100_000, "the others end in their time");
}

#[test]
fn rounds_with_a_million_flows_of_which_none_is_due_look_at_none() {
    let mut ager = Ager::new();
    (0..FLOWS).for_each(|index| ager.made(index));
    // 20 rounds a second, two inputs each (counts, end); aging adds none before it is due.
    let inputs = ager.run(Time::from_millis(1900));
    assert!(inputs <= 2 * 40, "{inputs}");
}

#[test]
fn a_connection_that_ended_goes_after_a_second_and_one_that_begins_anew_stays() {
    const FIN_ACK: u128 = 0x11;
    const SYN: u128 = 0x02;
    let mut ager = Ager::new();
    let id = |index| FlowId { index, generation: 0 };
    let fin = ager.connection(1, 0xffff, FIN_ACK);
    let ack = ager.connection(2, 0xffff, 0x10);
    let host = ager.connection(3, 0, FIN_ACK);
    let again = ager.connection(4, 0xffff, FIN_ACK);
    for (index, key) in [(1, fin), (2, ack), (3, host), (4, again)] {
        ager.tell(Input::Hit { id: id(index), key });
    }
    ager.tell(Input::Hit { id: id(4), key: again.with(Field::TcpFlags, SYN) });
    let flow = ager.engine.flow(id(1)).expect("it is known");
    assert_eq!(flow.why_not, Some(WhyNot::NoCard), "without a card that is why");
    ager.run(Time::from_millis(900));
    assert_eq!(ager.removed, []);
    ager.run(Time::from_millis(1200));
    assert_eq!(ager.removed, [id(1)]);
    ager.run(Time::from_millis(1900));
    assert_eq!(ager.removed, [id(1)]);
    ager.run(Time::from_millis(2500));
    assert_eq!(ager.removed.len(), 4, "the others by idle time");
}

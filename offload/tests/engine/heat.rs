//! When the card is full, the hottest flows live in it.

use crate::model::Random;
use crate::model::shape::{Shape, output_of, pipeline};
use crate::timeouts::SHAPE;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{
    CounterSink, Done, EntryCounts, EntryId, Epoch, Event, FlowOp, Generation, Sweep,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId, Step};
use twinpath_flow::time::Time;
use twinpath_offload::{Engine, Input, Output, Settings};

/// A card that does everything at once, and exact flows by number.
struct Bench {
    engine: Engine,
    now: Time,
    by_flow: HashMap<u32, EntryId>,
    entries: HashMap<EntryId, (u32, Counts)>,
    software: HashMap<u32, Counts>,
    touched: Vec<u32>,
    card: u64,
    writes: u64,
}

fn key(flow: u32) -> Key {
    Key::ZERO.with(Field::InPort, 1).with(Field::TunId, flow.into())
}

impl Bench {
    fn new(shape: Shape) -> Self {
        let engine = Engine::new(Settings::default(), pipeline(&[RuleId(1)], 0, 0), Time(0));
        let mut bench = Self {
            engine,
            now: Time(0),
            by_flow: HashMap::new(),
            entries: HashMap::new(),
            software: HashMap::new(),
            touched: Vec::new(),
            card: 0,
            writes: 0,
        };
        let capabilities = Arc::new(shape.capabilities());
        bench.tell(Input::CardUp { capabilities, epoch: Epoch(1), generation: Generation(0) });
        bench
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Card(op) => self.execute(op),
                Output::SweepWanted => self.sweep(),
                Output::SoftwareCountsWanted => self.report(),
                Output::RemoveFlow { id, .. } => {
                    let counts = self.software.remove(&id.index).unwrap_or_default();
                    self.tell(Input::FlowGone { id, counts, last_used: None });
                }
                _ => {}
            }
        }
    }

    fn execute(&mut self, op: FlowOp) {
        let tag = op.tag();
        let mut done = Done::default();
        match op {
            FlowOp::Add { entry, .. } => {
                let flow = entry.matching.value.get(Field::TunId);
                let flow = u32::try_from(flow).expect("32 bits");
                self.writes += 1;
                self.by_flow.insert(flow, entry.id);
                self.entries.insert(entry.id, (flow, Counts::default()));
            }
            FlowOp::Delete { id, .. } => {
                let (flow, counts) = self.entries.remove(&id).expect("was added");
                self.by_flow.remove(&flow);
                done.counts = Some(counts);
            }
            _ => {}
        }
        self.tell(Input::Card(Event::Done { tag, result: Ok(done) }));
    }

    fn sweep(&mut self) {
        let sweep = Sweep { as_of: self.now, epoch: Epoch(1), complete: true };
        self.engine.begin(self.now, &sweep);
        for (id, (_, counts)) in &self.entries {
            self.engine.entry(&EntryCounts { id: *id, counts: *counts, last_hit: None });
        }
        self.tell(Input::Swept(sweep));
    }

    fn report(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for flow in std::mem::take(&mut self.touched) {
            let Some(counts) = self.software.get(&flow).copied() else { continue };
            let id = FlowId { index: flow, generation: 0 };
            self.tell(Input::SoftwareCounts { id, counts, last_used: Some(self.now) });
        }
        self.tell(Input::SoftwareReported);
    }

    fn packet(&mut self, flow: u32) {
        if let Some(entry) = self.by_flow.get(&flow) {
            self.entries.get_mut(entry).expect("listed").1 += Counts::one(60);
            self.card += 1;
            return;
        }
        let known = self.software.contains_key(&flow);
        *self.software.entry(flow).or_default() += Counts::one(60);
        self.touched.push(flow);
        if known {
            return;
        }
        let mask = Key::ZERO.with(Field::InPort, 0xffff).with(Field::TunId, u128::from(u32::MAX));
        let id = FlowId { index: flow, generation: 0 };
        let made = Arc::new(Flow {
            matching: MaskedKey::new(&key(flow), mask),
            steps: vec![Step::Output(output_of(RuleId(1)))],
            ttl_threshold: None,
            rules: vec![RuleId(1)],
        });
        let from = Generation(0);
        self.tell(Input::FlowMade { id, flow: made, key: key(flow), from, until: None });
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        if self.engine.next_timeout().is_some_and(|due| due <= self.now) {
            self.tell(Input::Timeout);
        }
    }
}

/// Cumulative weights of Zipf's law, scaled to 2^31.
fn zipf(flows: u32, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=flows)
        .map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        })
        .collect();
    cumulative.into_iter().map(|weight| weight / sum).collect()
}

fn share(bench: &mut Bench, law: &[f64], packets: u32, gap: Duration) -> f64 {
    let mut random = Random::new(11);
    let start = bench.card;
    for _ in 0..packets {
        let point = f64::from(u32::try_from(random.below(1 << 31)).expect("31 bits"))
            / f64::from(1u32 << 31);
        let rank = law.partition_point(|weight| *weight < point);
        bench.packet(u32::try_from(rank).expect("few flows"));
        bench.pass(gap);
    }
    let hits = u32::try_from(bench.card - start).expect("at most the packets");
    f64::from(hits) / f64::from(packets)
}

#[test]
fn a_full_card_holds_most_of_what_a_clairvoyant_would() {
    let shape = Shape { banks: 1, bank_capacity: 500, ternary_capacity: 0, hold: false, ..SHAPE };
    let law = zipf(5000, 1.2);
    for gap in [Duration::from_micros(1), Duration::from_micros(20)] {
        let mut bench = Bench::new(shape);
        share(&mut bench, &law, 100_000, gap);
        let (warm, best) = (share(&mut bench, &law, 100_000, gap), law[499]);
        assert!(warm > 0.95 * best, "{gap:?}: {warm} of {best}");
        assert!(bench.writes < 5_000, "{gap:?}: {} entries written", bench.writes);
    }
}

#[test]
fn a_shift_of_traffic_moves_the_new_flows_in() {
    let shape = Shape { banks: 1, bank_capacity: 100, ternary_capacity: 0, hold: false, ..SHAPE };
    let mut bench = Bench::new(shape);
    let mut spell = |flows: std::ops::Range<u32>, rounds: u32| {
        let start = bench.card;
        for _ in 0..rounds {
            for flow in flows.clone() {
                bench.packet(flow);
                bench.pass(Duration::from_micros(100));
            }
        }
        (bench.card - start) * 100 / u64::from(rounds * 100)
    };
    assert!(spell(0..100, 100) > 90);
    spell(1000..1100, 300);
    assert!(spell(1000..1100, 100) > 90, "the old ones have cooled");
}

//! The engine itself over a trace: told what the software path would tell it, burst by burst, and
//! in front of a card that answers after the same latency as everyone's.

use super::trace::{SILENCE, Trace};
use super::{Score, Setting};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::action::Instructions;
use twinpath_flow::card::{
    ActionCaps, Capabilities, CounterSink, Done, EntryCounts, EntryId, Epoch, Event, FlowOp,
    Generation, OpTag, Sweep, TableCaps, TableKind,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, Line, MaskedKey};
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::rule::{Match, Rule, RuleId};
use twinpath_flow::steps::{Flow, FlowId, Step};
use twinpath_flow::time::Time;
use twinpath_offload::{Engine, Input, Output, Settings};

/// Packets that software takes in at once.
const BURST: usize = 32;

/// A burst does not wait longer for its packets.
const BURST_TIME: Duration = Duration::from_micros(100);

/// Hits the software path samples per burst.
const HIT_SAMPLES: usize = 4;

/// A flow in software.
#[derive(Clone, Copy, Debug, Default)]
struct SoftFlow {
    /// Whether software has it.
    is_known: bool,
    /// How often it was made before.
    generation: u32,
    counts: Counts,
    last_used: Time,
    /// Since the last report.
    is_touched: bool,
}

/// The engine with a software path and a card that are as simple as can be.
#[derive(Debug)]
struct Product {
    engine: Engine,
    now: Time,
    software: Vec<SoftFlow>,
    touched: Vec<u32>,
    /// The entry that serves each flow.
    serving: Vec<Option<EntryId>>,
    entries: HashMap<EntryId, (u32, Counts)>,
    /// Operations that the card has not done yet.
    pipe: VecDeque<(Time, FlowOp)>,
    setting: Setting,
    updates: u64,
    hits_told: usize,
}

/// Runs the engine over a trace.
#[must_use]
pub fn run(trace: &Trace, setting: Setting) -> Score {
    let mut product = Product::new(trace.ids, setting);
    let mut score = Score::default();
    for (packet, flow) in trace.packets.iter().copied().enumerate() {
        let now = trace.time(packet);
        if packet.is_multiple_of(BURST) || now.since(product.now) > BURST_TIME {
            product.advance(now);
        }
        if flow != SILENCE {
            let hit = product.packet(flow);
            score.count(trace, packet, hit);
        }
    }
    score.updates = product.updates;
    score
}

impl Product {
    fn new(ids: u32, setting: Setting) -> Self {
        let settings =
            Settings { updates_per_second: setting.updates_per_second, ..Settings::default() };
        let mut product = Self {
            engine: Engine::new(settings, pipeline(), Time(0)),
            now: Time(0),
            software: vec![SoftFlow::default(); ids as usize],
            touched: Vec::new(),
            serving: vec![None; ids as usize],
            entries: HashMap::new(),
            pipe: VecDeque::new(),
            setting,
            updates: 0,
            hits_told: 0,
        };
        let capabilities = Arc::new(capabilities(setting.room));
        product.tell(Input::CardUp { capabilities, epoch: Epoch(1), generation: Generation(0) });
        product.settle();
        product
    }

    /// A new burst: what the card has done by now, and what time brings, in its order.
    fn advance(&mut self, now: Time) {
        self.hits_told = 0;
        // Ends: each turn does what is due, which makes what comes next due later.
        loop {
            let done = self.pipe.front().map(|(due, _)| *due);
            let timeout = self.engine.next_timeout();
            let Some(due) = [done, timeout].into_iter().flatten().min() else { break };
            if due > now {
                break;
            }
            self.now = self.now.max(due);
            match self.pipe.pop_front_if(|(at, _)| *at <= due) {
                Some((_, op)) => self.execute(op),
                None => self.tell(Input::Timeout),
            }
            self.settle();
        }
        self.now = now;
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
    }

    /// Does what the engine wants, until it wants no more.
    fn settle(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Card(op) => {
                    self.pipe.push_back((self.now.after(self.setting.latency), op));
                }
                Output::SweepWanted => self.sweep(),
                Output::SoftwareCountsWanted => self.report(),
                Output::RemoveFlow { id, .. } => self.remove(id),
                _ => {}
            }
        }
    }

    fn execute(&mut self, op: FlowOp) {
        let tag: OpTag = op.tag();
        let mut done = Done::default();
        match op {
            FlowOp::Add { entry, .. } => {
                let flow = u32::try_from(entry.matching.value.get(Field::IpDst)).expect("32 bits");
                self.serving[flow as usize] = Some(entry.id);
                self.entries.insert(entry.id, (flow, Counts::default()));
                self.updates += 1;
            }
            FlowOp::Delete { id, .. } => {
                let (flow, counts) = self.entries.remove(&id).expect("the engine added it");
                self.serving[flow as usize] = None;
                done.counts = Some(counts);
                self.updates += 1;
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
        for flow in std::mem::take(&mut self.touched) {
            let state = &mut self.software[flow as usize];
            state.is_touched = false;
            if state.is_known {
                let (id, counts) = (state.id(flow), state.counts);
                let last_used = Some(state.last_used);
                self.tell(Input::SoftwareCounts { id, counts, last_used });
            }
        }
        self.tell(Input::SoftwareReported);
    }

    fn remove(&mut self, id: FlowId) {
        let state = &mut self.software[id.index as usize];
        if !state.is_known || state.generation != id.generation {
            return;
        }
        let (counts, last_used) = (state.counts, Some(state.last_used));
        *state = SoftFlow { generation: state.generation + 1, ..SoftFlow::default() };
        self.tell(Input::FlowGone { id, counts, last_used });
    }

    /// A packet; whether the card decided it.
    fn packet(&mut self, flow: u32) -> bool {
        if let Some(entry) = self.serving[flow as usize] {
            self.entries.get_mut(&entry).expect("it serves").1 += Counts::one(60);
            return true;
        }
        let state = &mut self.software[flow as usize];
        let is_new = !state.is_known;
        state.is_known = true;
        state.counts += Counts::one(60);
        state.last_used = self.now;
        if !state.is_touched {
            state.is_touched = true;
            self.touched.push(flow);
        }
        let (id, key) = (state.id(flow), key(flow));
        if is_new {
            let (from, flow) = (Generation(0), Arc::new(exact(&key)));
            self.tell(Input::FlowMade { id, flow, key, from, until: None });
        } else if self.hits_told < HIT_SAMPLES {
            self.hits_told += 1;
            self.tell(Input::Hit { id, key });
        }
        self.settle();
        false
    }
}

impl SoftFlow {
    const fn id(&self, flow: u32) -> FlowId {
        FlowId { index: flow, generation: self.generation }
    }
}

/// The key of a packet of that flow.
#[must_use]
pub fn key(flow: u32) -> Key {
    Key::ZERO.with(Field::InPort, 1).with(Field::IpDst, flow.into())
}

/// The flow of exactly that key.
#[must_use]
pub fn exact(key: &Key) -> Flow {
    let mask = Key::ZERO.with(Field::InPort, 0xffff).with(Field::IpDst, u128::MAX);
    Flow {
        matching: MaskedKey::new(key, mask),
        steps: vec![Step::Output(PortNo(2))],
        ttl_threshold: None,
        rules: vec![RuleId(1)],
    }
}

fn capabilities(room: usize) -> Capabilities {
    let table = TableCaps {
        name: "exact".into(),
        kind: TableKind::Exact,
        capacity: u32::try_from(room).expect("cards are smaller"),
        fields: Line([0xff; 64]),
    };
    Capabilities {
        card: "model".into(),
        ports: 2,
        tables: vec![table],
        actions: ActionCaps { outputs: 2, ..ActionCaps::default() },
        counters: true,
        counter_staleness_ns: 0,
        generations: true,
        hold_frames: 0,
        queues: 1,
        mirror: false,
        read_back: false,
    }
}

/// One rule, two ports.
#[must_use]
pub fn pipeline() -> Arc<Pipeline> {
    let ports = PortTable::new(vec![Port::physical(1), Port::physical(2)]).expect("distinct ports");
    let rule = Rule {
        table: 0,
        priority: 1,
        cookie: 0,
        matching: Match::default(),
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        send_flow_rem: false,
        instructions: Instructions::default(),
    };
    let placed = PlacedRule { id: RuleId(1), rule: Arc::new(rule) };
    Arc::new(Pipeline::new(Arc::new(ports), [placed]))
}

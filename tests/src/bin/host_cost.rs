//! `bench/host_cost`: what placement costs the host: installation, sweep, memory, control thread.
//!
//! Engine and driver are the product's; the card is the simulated one, whose own time is not counted.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its purpose")]

#[path = "host_cost/reoffload.rs"]
mod reoffload;

use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use twinpath_abi::capability::Bank;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::BAR_BYTES;
use twinpath_flow::card::{Event, FlowOp, Generation};
use twinpath_flow::counters::Counts;
use twinpath_flow::sample::Random;
use twinpath_flow::steps::{Flow, FlowId};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::SmartNic as _;
use twinpath_host_driver::twin::{self, Twin, dma_bytes};
use twinpath_hw_sim::{Card, Profile};
use twinpath_offload::{Engine, Input, Output, Settings};
use twinpath_tests::heap::{Counting, live_bytes};
use twinpath_tests::placement::product::{exact, key, pipeline};

#[global_allocator]
static HEAP: Counting = Counting;

/// Flows told to the engine before the driver is given their operations.
const BATCH: usize = 1024;

/// Places of the card of the installation figures.
const PLACES: u32 = 1 << 20;

const USAGE: &str = "\
usage: bench/host_cost [--only install|install-hold|reset|control]
                       [--untimed] [--json FILE] [--docs FILE]

Measures, in thread CPU time of engine and driver, against the simulated card:
installation of flows around a half full and a 95 % full table, a sweep of all
counters, heap bytes per offloaded flow, 100,000 flows back in the card after a
reset, and the control thread at 100,000 new
flows a second with 1,000,000 flows in software and a card of 65,536.
With --untimed no clock is read, so that valgrind can count instructions.

example:
  bench/host_cost";

/// Whether no clock is read: tools that count instructions cannot follow it.
static UNTIMED: AtomicBool = AtomicBool::new(false);

/// CPU time of this thread.
fn cpu() -> Duration {
    if UNTIMED.load(Ordering::Relaxed) {
        return Duration::ZERO;
    }
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}

/// Engine, driver and card.
struct Rig {
    engine: Engine,
    driver: Twin<SharedMemory>,
    card: Card<SharedMemory>,
    operations: VecDeque<FlowOp>,
    events: Vec<Event>,
    now: Time,
    /// CPU time of the host's part.
    spent: Duration,
    /// Heap bytes of the host's part.
    heap: i64,
    wants_sweep: bool,
    wants_counts: bool,
    /// Counts of software are being given.
    reporting: bool,
    removed: Vec<FlowId>,
}

impl Rig {
    fn new(places: u32, hold_frames: u32) -> Self {
        let mut profile = Profile::named("large").expect("a profile");
        profile.banks = vec![Bank { slots: places / 4 - 8, stash: 32 }];
        profile.ternary = 0;
        profile.hold_frames = hold_frames;
        (profile.command_latency_ns, profile.command_interval_ns) = (0, 0);
        let pipeline = pipeline();
        let ports = (*pipeline.ports).clone();
        profile.ports = 2;
        let settings = twin::Settings { command_log2: 12, ..twin::Settings::default() };
        let arena = dma_bytes(&settings, &ports, profile.capacity());
        let memory = SharedMemory::new(BAR_BYTES, arena, 8);
        let card = Card::new(profile, memory.clone());
        let before = live_bytes();
        let limits =
            Settings { updates_per_second: u32::MAX, ops_in_flight: 4096, ..Settings::default() };
        let engine = Engine::new(limits, pipeline, Time(0));
        let driver = Twin::attach(Arc::new(memory), ports, settings, Time(0));
        let mut rig = Self {
            engine,
            driver,
            card,
            operations: VecDeque::new(),
            events: Vec::new(),
            now: Time(0),
            spent: Duration::ZERO,
            heap: live_bytes() - before,
            wants_sweep: false,
            wants_counts: false,
            reporting: false,
            removed: Vec::new(),
        };
        // Ends: the driver gives up by its own deadline of virtual time.
        while rig.engine.tables().is_empty() {
            rig.now.0 += 10_000;
            rig.turn();
            assert!(rig.now < Time::from_secs(10), "the card did not come up");
        }
        rig
    }

    /// Runs a part of the host's work on the clock.
    fn host<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (start, heap) = (cpu(), live_bytes());
        let result = work(self);
        self.spent += cpu().saturating_sub(start);
        self.heap += live_bytes() - heap;
        result
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Card(op) => self.operations.push_back(op),
                Output::SweepWanted => self.wants_sweep = true,
                Output::SoftwareCountsWanted => self.wants_counts = true,
                Output::RemoveFlow { id, .. } => self.removed.push(id),
                _ => {}
            }
        }
    }

    fn poll(&mut self) -> bool {
        let mut events = std::mem::take(&mut self.events);
        self.driver.poll(self.now, &mut events);
        let moved = !events.is_empty();
        for event in events.drain(..) {
            if let Event::Up(epoch) = event {
                let capabilities = Arc::new(self.driver.capabilities().clone());
                let generation = Generation(0);
                self.tell(Input::CardUp { capabilities, epoch, generation });
            }
            self.tell(Input::Card(event));
        }
        self.events = events;
        let accepted = self.driver.submit(self.now, self.operations.make_contiguous());
        for operation in self.operations.drain(..accepted) {
            self.engine.give_back(operation);
        }
        moved || accepted > 0
    }

    /// One exchange; whether anything moved.
    fn turn(&mut self) -> bool {
        let moved = self.host(Self::poll);
        self.card.step(self.now.0);
        moved
    }

    fn settle(&mut self) {
        // Ends: the card answers every operation, and answers do not repeat.
        while self.turn() || !self.operations.is_empty() {}
    }

    fn made(&mut self, index: u32, flow: &Arc<Flow>) {
        let id = FlowId { index, generation: 0 };
        let (flow, key, from) = (Arc::clone(flow), key(index), Generation(0));
        self.tell(Input::FlowMade { id, flow, key, from, until: None });
    }

    /// Tells of flows in batches; host time per flow.
    fn install(&mut self, flows: &[Arc<Flow>], first: usize) -> Duration {
        let spent = self.spent;
        for (batch, part) in flows.chunks(BATCH).enumerate() {
            self.now.0 += 1000;
            self.host(|rig| {
                for (offset, flow) in part.iter().enumerate() {
                    let index = first + batch * BATCH + offset;
                    rig.made(u32::try_from(index).expect("few flows"), flow);
                }
            });
            self.settle();
        }
        let count = u32::try_from(flows.len().max(1)).expect("few flows");
        (self.spent - spent) / count
    }

    /// A packet for each of the first flows, by the card alone.
    fn touch(&mut self, flows: u32) {
        let mut frame = [0; 60];
        frame[12] = 0x08;
        // IPv4 without options, 46 bytes, TTL 64, UDP.
        frame[14..18].copy_from_slice(&[0x45, 0, 0, 46]);
        (frame[22], frame[23]) = (64, 17);
        for flow in 0..flows {
            frame[30..34].copy_from_slice(&flow.to_be_bytes());
            self.now.0 += 1000;
            self.card.port_in(0, &frame, self.now.0);
            if flow % 64 == 63 {
                self.card.step(self.now.0);
                while self.card.port_out(1).is_some() {}
            }
        }
        self.card.step(self.now.0);
        while self.card.port_out(1).is_some() {}
        self.settle();
    }

    /// A sweep of all counters; its host time.
    fn sweep(&mut self) -> Duration {
        let spent = self.spent;
        let mut swept = None;
        while swept.is_none() {
            self.now.0 += 1000;
            swept = self.host(|rig| rig.driver.sweep_counters(rig.now, &mut rig.engine));
            self.card.step(self.now.0);
            self.host(Self::poll);
        }
        self.host(|rig| rig.tell(Input::Swept(swept.expect("just got"))));
        self.spent - spent
    }
}

fn flows(range: std::ops::Range<u32>) -> Vec<Arc<Flow>> {
    range.map(|index| Arc::new(exact(&key(index)))).collect()
}

fn rate(per_flow: Duration) -> f64 {
    1e3 / per_flow.as_nanos().max(1) as f64
}

/// One figure, told when it is known.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it should be.
    bar: &'static str,
}

fn tell(
    figures: &mut Vec<Figure>,
    name: String,
    (value, unit): (f64, &'static str),
    bar: &'static str,
) {
    println!("{name:58} {value:8.2} {unit:9} {bar}");
    figures.push(Figure { name, value, unit, bar });
}

/// Writes JSON, and a table between the markers of a page.
fn write(figures: &[Figure], json: &str, docs: Option<&str>) -> std::io::Result<()> {
    let row = |f: &Figure| {
        let Figure { name, value, unit, bar } = f;
        format!(
            "  {{\"name\": \"{name}\", \"value\": {value:.3}, \"unit\": \"{unit}\", \"bar\": \"{bar}\"}}"
        )
    };
    let rows: Vec<String> = figures.iter().map(row).collect();
    if let Some(folder) = Path::new(json).parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(json, format!("[\n{}\n]\n", rows.join(",\n")))?;
    let Some(docs) = docs else { return Ok(()) };
    let page = std::fs::read_to_string(docs)?;
    let (begin, end) = ("<!-- host_cost:begin -->\n", "<!-- host_cost:end -->");
    let parts =
        page.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?.1)));
    let Some((head, tail)) = parts else {
        return Err(std::io::Error::other(format!("{docs} has no host_cost markers")));
    };
    let mut table = "| what | measured | to reach |\n|---|---:|---|\n".to_owned();
    for Figure { name, value, unit, bar } in figures {
        table += &format!("| {name} | {value:.2} {unit} | {bar} |\n");
    }
    std::fs::write(docs, format!("{head}{begin}{table}{end}{tail}"))
}

fn installation(hold_frames: u32, figures: &mut Vec<Figure>) {
    let mut rig = Rig::new(PLACES, hold_frames);
    let share = |percent: usize| PLACES as usize * percent / 100;
    let all = flows(0..PLACES);
    // Its round ends and what it does every time is a part of the price.
    rig.install(&all[..share(45)], 0);
    let half = rig.install(&all[share(45)..share(55)], share(45));
    let bytes = rig.heap / i64::try_from(share(55)).expect("few");
    rig.install(&all[share(55)..share(93)], share(55));
    let full = rig.install(&all[share(93)..share(95)], share(93));
    let how = if hold_frames > 0 { "install, held and released" } else { "install" };
    tell(figures, format!("{how}, table half full"), (rate(half), "M/s"), "1, goal 3");
    tell(figures, format!("{how}, table 95 % full"), (rate(full), "M/s"), "reported");
    if hold_frames > 0 {
        return;
    }
    let offloaded = rig.engine.totals().offloaded;
    let entries = i64::try_from(offloaded.max(1)).expect("few");
    let heap = [(55, bytes), (95, rig.heap / entries)];
    for (percent, bytes) in heap {
        let name = format!("memory per offloaded flow, engine and driver, {percent} % full");
        tell(figures, name, (bytes as f64, "B"), "256");
    }
    rig.sweep();
    let unchanged = median((0..5).map(|_| rig.sweep()).collect());
    tell(figures, format!("sweep of {offloaded} counters, none changed"), (unchanged, "ms"), "20");
    // The first sweep is of before.
    rig.touch(PLACES / 20);
    rig.sweep();
    let some = rig.sweep().as_secs_f64() * 1e3;
    tell(figures, "the same, one in twenty changed".to_owned(), (some, "ms"), "20");
    let mut all = 0.0;
    // The first time finds no memory for so many.
    for _ in 0..2 {
        rig.touch(PLACES);
        rig.sweep();
        all = rig.sweep().as_secs_f64() * 1e3;
    }
    let counted = rig.engine.totals().flows.card.map_or(0, |card| card.counts.packets);
    assert!(counted > u64::from(PLACES) * 9 / 10, "the card has counted {counted} packets");
    tell(figures, "the same, all changed".to_owned(), (all, "ms"), "20");
}

/// The median, in milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Software flows that come, are used a few times and go; elephants in the card.
fn control_thread(figures: &mut Vec<Figure>) {
    const NEW_PER_MS: u32 = 100;
    let mut rig = Rig::new(65_536, 0);
    let mut random = Random::new(5);
    let warm = 11_000;
    let total = warm + 2000;
    let all = flows(0..65_536 + NEW_PER_MS * total);
    rig.install(&all[..65_536], 0);
    let mut counts: Vec<Counts> = vec![Counts::default(); all.len()];
    let (mut touched, mut asked): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut next = 65_536;
    let (mut latencies, mut busy, mut free_at) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for ms in 0..total {
        rig.now = Time(rig.now.0.max(u64::from(ms) * 1_000_000));
        let new: Vec<u32> = (next..next + NEW_PER_MS).collect();
        next += NEW_PER_MS;
        // Each flow has some more packets within its first seconds.
        let again: Vec<u32> = (0..4 * NEW_PER_MS)
            .map(|_| {
                let age = NEW_PER_MS as usize * (1 + random.below(2000));
                (next as usize).saturating_sub(age).max(65_536)
            })
            .map(|index| u32::try_from(index).expect("few flows"))
            .collect();
        let spent = rig.spent;
        rig.host(|rig| {
            for index in &new {
                rig.made(*index, &all[*index as usize]);
            }
            for index in &again {
                let id = FlowId { index: *index, generation: 0 };
                rig.tell(Input::Hit { id, key: key(*index) });
            }
            rig.tell(Input::Timeout);
        });
        for index in new.iter().chain(&again) {
            counts[*index as usize] += Counts::one(60);
            touched.push(*index);
        }
        rig.settle();
        serve_round(&mut rig, &counts, (&mut touched, &mut asked));
        rig.settle();
        let cost = rig.spent - spent;
        if ms >= warm {
            let arrival = Duration::from_millis((ms - warm).into());
            free_at = free_at.max(arrival) + cost;
            latencies.push(free_at - arrival);
            busy += cost;
        }
    }
    latencies.sort_unstable();
    let at = |permille: usize| latencies[latencies.len() * permille / 1000].as_secs_f64() * 1e3;
    let flows = rig.engine.totals().flow_count;
    let share = busy.as_secs_f64() / 2.0 * 100.0;
    let name = format!("control thread, 100,000 new flows/s, {flows} flows, 65,536 places");
    tell(figures, name, (share, "% of core"), "goal 50");
    for (name, permille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        let name = format!("first packet to decision, {name}");
        tell(figures, name, (at(permille), "ms"), if permille == 990 { "goal 5" } else { "" });
    }
}

/// Counts of software given at once; what came meanwhile goes first.
const COUNTS_AT_ONCE: usize = 4096;

/// Flows that software drops at once.
const REMOVED_AT_ONCE: usize = 1024;

/// What a round asks for: counts of software, a part at a time, a sweep, flows to drop.
fn serve_round(rig: &mut Rig, counts: &[Counts], (touched, asked): (&mut Vec<u32>, &mut Vec<u32>)) {
    if std::mem::take(&mut rig.wants_counts) {
        touched.sort_unstable();
        touched.dedup();
        std::mem::swap(touched, asked);
        rig.reporting = true;
    }
    if rig.reporting {
        let rest = asked.len().saturating_sub(COUNTS_AT_ONCE);
        rig.host(|rig| {
            let now = rig.now;
            for index in asked.drain(rest..) {
                let id = FlowId { index, generation: 0 };
                let (counts, last_used) = (counts[index as usize], Some(now));
                rig.tell(Input::SoftwareCounts { id, counts, last_used });
            }
            if asked.is_empty() {
                rig.reporting = false;
                rig.tell(Input::SoftwareReported);
            }
        });
    }
    if std::mem::take(&mut rig.wants_sweep) {
        rig.sweep();
    }
    let some = rig.removed.len().min(REMOVED_AT_ONCE);
    let removed: Vec<FlowId> = rig.removed.drain(..some).collect();
    rig.host(|rig| {
        for id in removed {
            let counts = counts[id.index as usize];
            rig.tell(Input::FlowGone { id, counts, last_used: None });
        }
    });
}

/// What is measured, by name, so that one can be profiled alone.
const PARTS: [&str; 4] = ["install", "install-hold", "reset", "control"];

fn main() -> ExitCode {
    let mut parts = PARTS.to_vec();
    let (mut json, mut docs) = ("target/bench/host_cost.json".to_owned(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = match argument.as_str() {
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--untimed" => {
                UNTIMED.store(true, Ordering::Relaxed);
                continue;
            }
            "--only" | "--json" | "--docs" => arguments.next(),
            _ => None,
        };
        match (argument.as_str(), value) {
            ("--only", Some(part)) => parts.retain(|known| *known == part),
            ("--json", Some(file)) => json = file,
            ("--docs", Some(file)) => docs = Some(file),
            _ => {
                eprintln!("host_cost: {argument}: unknown, or without its value; see --help");
                return ExitCode::from(2);
            }
        }
    }
    let mut figures = Vec::new();
    for part in parts {
        match part {
            "install" => installation(0, &mut figures),
            "install-hold" => installation(64, &mut figures),
            "reset" => reoffload::measure(&mut figures),
            _ => control_thread(&mut figures),
        }
    }
    match write(&figures, &json, docs.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host_cost: {error}");
            ExitCode::FAILURE
        }
    }
}

//! `bench/host_cost`: what placement costs the host: installation, sweep, memory, control thread.
//!
//! Engine and driver are the product's; the card is the simulated one, whose own time is not counted.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its purpose")]

#[path = "host_cost/control.rs"]
mod control;
#[path = "host_cost/figure.rs"]
mod figure;
#[path = "host_cost/reoffload.rs"]
mod reoffload;

use figure::{Figure, tell, write};

use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use twinpath_abi::capability::Bank;
use twinpath_abi::memory::SharedMemory;
use twinpath_abi::register::BAR_BYTES;
use twinpath_flow::card::{Event, FlowOp, Generation};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Key;
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
const BATCH: u32 = 1024;

/// Installations of a tenth of the table, of which the median counts.
const INSTALLS: u32 = 5;

/// Places of the card of the installation figures.
const PLACES: u32 = 1 << 20;

const USAGE: &str = "\
usage: bench/host_cost [--only install|install-hold|sweep|reset|control]
                       [--untimed] [--json FILE] [--docs FILE]

Measures, in thread CPU time of engine and driver, against the simulated card:
installation of flows around a half full and a 95 % full table, a sweep of all
counters, heap bytes per offloaded flow, 100,000 flows back in the card after a
reset, and the control thread at 100,000 new flows a second with 1,000,000 flows
in software and a card of 65,536. With --untimed no clock is read and nothing is
installed into a nearly full table, so that valgrind can count instructions.

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

fn glance() -> Duration {
    let start = cpu();
    cpu().saturating_sub(start)
}

/// Settings that let the engine install as fast as it can.
fn unlimited() -> Settings {
    Settings { updates_per_second: u32::MAX, ops_in_flight: 4096, ..Settings::default() }
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
    /// What it takes at least to read the clock twice.
    glance: Duration,
    /// Heap bytes of the host's part.
    heap: i64,
    wants_sweep: bool,
    wants_counts: bool,
    /// Counts of software are being given.
    reporting: bool,
    removed: Vec<FlowId>,
}

impl Rig {
    fn new(places: u32, hold_frames: u32, limits: Settings) -> Self {
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
            glance: (0..1000).map(|_| glance()).min().unwrap_or_default(),
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

    /// Runs a part of the host's work on the clock; a function of its own, so that tools find it.
    #[inline(never)]
    fn host<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (start, heap) = (cpu(), live_bytes());
        let result = work(self);
        self.spent += cpu().saturating_sub(start).saturating_sub(self.glance);
        self.heap += live_bytes() - heap;
        result
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
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

    /// Tells what software has counted of a flow, if it still has it.
    fn report(&mut self, id: FlowId, counts: Counts) {
        if self.engine.serves(id) {
            let last_used = Some(self.now);
            self.engine.handle(self.now, Input::SoftwareCounts { id, counts, last_used });
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

    /// Tells of flows that software has just made, then hands out what follows from it.
    fn made(&mut self, flows: &mut Vec<Made>) {
        for Made { id, key, flow } in flows.drain(..) {
            let from = Generation(0);
            self.engine.handle(self.now, Input::FlowMade { id, flow, key, from, until: None });
        }
        self.drain();
    }

    /// Tells of flows in batches, as software makes them; host time per flow.
    fn install(&mut self, flows: Range<u32>, generation: u32) -> Duration {
        let spent = self.spent;
        let count = u32::try_from(flows.len().max(1)).expect("few flows");
        for first in flows.clone().step_by(BATCH as usize) {
            self.now.0 += 1000;
            // Its memory is not the host's.
            let mut made = make(first..flows.end.min(first + BATCH), generation);
            self.host(|rig| rig.made(&mut made));
            self.settle();
        }
        (self.spent - spent) / count
    }

    /// Software has dropped flows: their entries leave the card.
    fn uninstall(&mut self, flows: Range<u32>, generation: u32) {
        for first in flows.clone().step_by(BATCH as usize) {
            self.now.0 += 1000;
            self.host(|rig| {
                for index in first..flows.end.min(first + BATCH) {
                    let id = FlowId { index, generation };
                    let (counts, last_used) = (Counts::default(), None);
                    rig.engine.handle(rig.now, Input::FlowGone { id, counts, last_used });
                }
                rig.drain();
            });
            self.settle();
        }
    }

    /// One to four packets for each of the first flows, by the card alone.
    fn touch(&mut self, flows: u32, random: &mut Random) {
        let mut frame = [0; 60];
        frame[12] = 0x08;
        // IPv4 without options, 46 bytes, TTL 64, UDP.
        frame[14..18].copy_from_slice(&[0x45, 0, 0, 46]);
        (frame[22], frame[23]) = (64, 17);
        for flow in 0..flows {
            frame[30..34].copy_from_slice(&flow.to_be_bytes());
            self.now.0 += 250;
            for _ in 0..=random.below(4) {
                self.card.port_in(0, &frame, self.now.0);
            }
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

/// A flow that software has made.
struct Made {
    id: FlowId,
    key: Key,
    flow: Arc<Flow>,
}

fn make(range: Range<u32>, generation: u32) -> Vec<Made> {
    let of = |index| {
        let (id, key) = (FlowId { index, generation }, key(index));
        Made { id, key, flow: Arc::new(exact(&key)) }
    };
    range.map(of).collect()
}

fn rate(per_flow: Duration) -> f64 {
    1e3 / per_flow.as_nanos().max(1) as f64
}

fn installation(hold_frames: u32, figures: &mut Vec<Figure>) {
    let mut rig = Rig::new(PLACES, hold_frames, unlimited());
    let share = |percent: u32| PLACES / 100 * percent;
    let how = if hold_frames > 0 { "install, held and released" } else { "install" };
    rig.install(0..share(45), 0);
    let middle = share(45)..share(55);
    let first = rig.install(middle.clone(), 0);
    // From now on flows take the places of others, as in a system that has run for a while.
    let again = |generation| {
        rig.uninstall(middle.clone(), generation);
        rig.install(middle.clone(), generation + 1)
    };
    let half = median((0..INSTALLS).map(again).collect());
    tell(figures, format!("{how}, table half full"), (1e-3 / half, "M/s"), "1, goal 3");
    let name = format!("{how}, table half full, every flow in new memory");
    tell(figures, name, (rate(first), "M/s"), "reported");
    if UNTIMED.load(Ordering::Relaxed) {
        return;
    }
    rig.install(share(55)..share(93), 0);
    let full = rig.install(share(93)..share(95), 0);
    tell(figures, format!("{how}, table 95 % full"), (rate(full), "M/s"), "reported");
}

/// Memory per flow, and sweeps of very many counters.
fn sweeps(figures: &mut Vec<Figure>) {
    let mut rig = Rig::new(PLACES, 0, unlimited());
    let share = |percent: u32| PLACES / 100 * percent;
    rig.install(0..share(55), 0);
    let bytes = rig.heap / i64::from(share(55));
    rig.install(share(55)..share(95), 0);
    let offloaded = rig.engine.totals().offloaded;
    let entries = i64::try_from(offloaded.max(1)).expect("few");
    let heap = [(55, bytes), (95, rig.heap / entries)];
    for (percent, bytes) in heap {
        let name = format!("memory per offloaded flow, engine and driver, {percent} % full");
        tell(figures, name, (bytes as f64, "B"), "256");
    }
    // Traffic is noise: what one flow counted says nothing of the next.
    let mut random = Random::new(1);
    rig.sweep();
    let unchanged = median((0..5).map(|_| rig.sweep()).collect());
    tell(figures, format!("sweep of {offloaded} counters, none changed"), (unchanged, "ms"), "20");
    // The first sweep is of before.
    rig.touch(PLACES / 20, &mut random);
    rig.sweep();
    let some = rig.sweep().as_secs_f64() * 1e3;
    tell(figures, "the same, one in twenty changed".to_owned(), (some, "ms"), "20");
    let mut all = 0.0;
    // The first time finds no memory for so many, and heats have no past yet.
    for _ in 0..4 {
        rig.touch(PLACES, &mut random);
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

/// What is measured, by name, so that one can be profiled alone.
const PARTS: [&str; 5] = ["install", "install-hold", "sweep", "reset", "control"];

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
            "sweep" => sweeps(&mut figures),
            "reset" => reoffload::measure(&mut figures),
            _ => control::measure(&mut figures),
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

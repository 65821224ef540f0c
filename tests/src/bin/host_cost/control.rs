//! The control thread under very many new flows: the loop of `twinpath run`, on virtual time.
//!
//! Each turn takes the packets that have arrived, hands out what follows, then does one part of what
//! can wait: some counts of software, a sweep, the engine's next part. The next turn begins when
//! the host's work of this one is done; the card's work takes no time.

use super::{Figure, Rig, UNTIMED, key, make, tell};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;
use twinpath_flow::counters::Counts;
use twinpath_flow::sample::Random;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;
use twinpath_offload::view::Place;
use twinpath_offload::{Input, Settings};

/// Places of the card.
const PLACES: u32 = 65_536;

/// A flow is new each so often on average.
const PACE: Duration = Duration::from_micros(10);

/// As many come together.
const BURST: u32 = 10;

/// Packets of earlier flows that come with a new one.
const PACKETS: u32 = 4;

/// Packets of one burst of the software path, and those of flows it has that it tells the engine of.
const SAMPLED: (usize, usize) = (32, 4);

/// New flows of one turn at most.
const FLOWS_AT_ONCE: u32 = 64;

/// Counts of software told in one turn (`cli/src/run/brain.rs`).
const COUNTS_AT_ONCE: usize = 1024;

/// Of those, so many are looked up together.
const LOOK_AHEAD: usize = 32;

/// Time before measuring: flows that are not used for 10 s have begun to end.
const WARM: Duration = Duration::from_secs(12);

/// Time of measuring.
const MEASURED: Duration = Duration::from_secs(4);

/// The control thread and what it looks after.
struct Control {
    rig: Rig,
    random: Random,
    /// Flows so far.
    known: u32,
    /// Of software.
    counts: Vec<Counts>,
    /// Flows with packets in software since the last report.
    touched: Vec<u32>,
    /// Flows whose counts are being reported.
    asked: Vec<u32>,
    frame: [u8; 60],
    parts: Parts,
}

/// Host time by what it went into.
#[derive(Clone, Copy, Default)]
struct Parts {
    deciding: Duration,
    updating: Duration,
    counting: Duration,
    sweeping: Duration,
}

impl Parts {
    fn since(self, before: Self) -> Self {
        Self {
            deciding: self.deciding - before.deciding,
            updating: self.updating - before.updating,
            counting: self.counting - before.counting,
            sweeping: self.sweeping - before.sweeping,
        }
    }
}

impl Control {
    /// Does a part of the host's work; what it took.
    fn timed(&mut self, work: impl FnOnce(&mut Rig)) -> Duration {
        let spent = self.rig.spent;
        work(&mut self.rig);
        self.rig.spent - spent
    }

    /// Does what updates of the card need, and tells the engine what that took.
    fn update(&mut self, work: impl FnOnce(&mut Rig)) {
        let took = self.timed(work);
        self.parts.updating += took;
        if took > Duration::ZERO {
            self.rig.host(|rig| rig.engine.handle(rig.now, Input::HostTime(took)));
        }
    }

    /// The packets of a turn: new flows, and packets of others, in the card or in software.
    fn packets(&mut self, new: Range<u32>) {
        let mut hits = Vec::new();
        for _ in 0..PACKETS * u32::try_from(new.len()).expect("a few") {
            // Within their first two seconds.
            let age = 1 + u32::try_from(self.random.below(200_000)).expect("below");
            let index = self.known.saturating_sub(age);
            let id = id_of(index);
            match self.rig.engine.flow(id).map(|flow| flow.place) {
                Some(Place::Card) => {
                    self.frame[30..34].copy_from_slice(&index.to_be_bytes());
                    self.rig.card.port_in(0, &self.frame, self.rig.now.0);
                    self.rig.card.step(self.rig.now.0);
                    while self.rig.card.port_out(1).is_some() {}
                }
                Some(_) => hits.push(index),
                None => {}
            }
        }
        self.known = new.end;
        let mut made = make(new.clone(), 0);
        let took = self.timed(|rig| {
            rig.host(|rig| {
                rig.made(&mut made);
                let (burst, told) = SAMPLED;
                for burst in hits.chunks(burst) {
                    hit(rig, &burst[..told.min(burst.len())]);
                }
                rig.drain();
            });
        });
        self.parts.deciding += took;
        self.update(Rig::settle);
        for index in new.chain(hits) {
            self.counts[index as usize] += Counts::one(60);
            self.touched.push(index);
        }
    }

    /// One part of what can wait; whether there was any.
    fn part(&mut self) -> bool {
        let mut was_busy = false;
        if std::mem::take(&mut self.rig.wants_counts) {
            self.touched.sort_unstable();
            self.touched.dedup();
            std::mem::swap(&mut self.touched, &mut self.asked);
            self.rig.reporting = true;
        }
        if self.rig.reporting {
            self.report();
            was_busy = true;
        }
        if self.rig.engine.next_timeout().is_some_and(|due| due <= self.rig.now) {
            self.update(|rig| rig.host(|rig| rig.tell(Input::Timeout)));
            self.drop_flows();
            was_busy = true;
        }
        if std::mem::take(&mut self.rig.wants_sweep) {
            let took = self.timed(|rig| {
                rig.sweep();
            });
            self.parts.sweeping += took;
            was_busy = true;
        }
        self.update(Rig::settle);
        was_busy
    }

    /// Tells of some of the counts that wait.
    fn report(&mut self) {
        let rest = self.asked.len().saturating_sub(COUNTS_AT_ONCE);
        let some: Vec<u32> = self.asked.drain(rest..).collect();
        let counts = std::mem::take(&mut self.counts);
        let is_last = self.asked.is_empty();
        let took = self.timed(|rig| {
            rig.host(|rig| {
                report(rig, &some, &counts);
                if is_last {
                    rig.reporting = false;
                    rig.engine.handle(rig.now, Input::SoftwareReported);
                }
                rig.drain();
            });
        });
        self.parts.counting += took;
        self.counts = counts;
    }

    /// Software drops flows at once.
    fn drop_flows(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        let took = self.timed(|rig| {
            rig.host(|rig| {
                for id in std::mem::take(&mut rig.removed) {
                    let counts = counts[id.index as usize];
                    rig.engine.handle(rig.now, Input::FlowGone { id, counts, last_used: None });
                }
                rig.drain();
            });
        });
        self.parts.counting += took;
        self.counts = counts;
    }
}

/// Tells what software has counted of some flows, as `twinpath run` does.
fn report(rig: &mut Rig, some: &[u32], counts: &[Counts]) {
    for some in some.chunks(LOOK_AHEAD) {
        rig.engine.look_ahead(some.iter().copied().map(id_of));
        for index in some {
            rig.report(id_of(*index), counts[*index as usize]);
        }
    }
}

/// Tells of sampled packets of one burst.
fn hit(rig: &mut Rig, some: &[u32]) {
    rig.engine.look_ahead_at_hits(some.iter().copied().map(id_of));
    for index in some {
        rig.engine.handle(rig.now, Input::Hit { id: id_of(*index), key: key(*index) });
    }
}

const fn id_of(index: u32) -> FlowId {
    FlowId { index, generation: 0 }
}

/// When a flow comes: with its burst.
fn arrival(index: u32) -> Duration {
    PACE * (index / BURST + 1) * BURST
}

/// What came of a run, from when it was warm.
#[derive(Default)]
struct Outcome {
    /// Of virtual time.
    lasted: Duration,
    busy: Duration,
    parts: Parts,
    /// From a flow's first packet to the end of the turn that decided, ascending.
    latencies: Vec<Duration>,
}

impl Outcome {
    fn percent(&self, of: Duration) -> f64 {
        of.as_secs_f64() / self.lasted.as_secs_f64() * 100.0
    }

    /// In milliseconds.
    fn latency(&self, permille: usize) -> f64 {
        self.latencies[self.latencies.len() * permille / 1000].as_secs_f64() * 1e3
    }
}

impl Control {
    fn new(total: u32) -> Self {
        let mut frame = [0; 60];
        frame[12] = 0x08;
        frame[14..18].copy_from_slice(&[0x45, 0, 0, 46]);
        (frame[22], frame[23]) = (64, 17);
        Self {
            rig: Rig::new(PLACES, 0, Settings::default()),
            random: Random::new(5),
            known: 0,
            counts: vec![Counts::default(); total as usize],
            touched: Vec::new(),
            asked: Vec::new(),
            frame,
            parts: Parts::default(),
        }
    }

    /// Turn by turn, until `total` flows were made.
    fn run(&mut self, total: u32, warm: Duration) -> Outcome {
        let (mut clock, mut outcome) = (Duration::ZERO, Outcome::default());
        let mut before = Parts::default();
        while self.known < total {
            self.rig.now = Time::from_secs(10).after(clock).max(self.rig.now);
            let spent = self.rig.spent;
            let bursts = clock.as_nanos() / (PACE * BURST).as_nanos();
            let arrived = u32::try_from(bursts).expect("as many flows") * BURST;
            let new = self.known..arrived.clamp(self.known, self.known + FLOWS_AT_ONCE).min(total);
            let (is_new, is_warm) = (!new.is_empty(), clock >= warm);
            if !is_warm {
                before = self.parts;
            }
            if is_new {
                self.packets(new.clone());
            }
            let decided = clock + (self.rig.spent - spent);
            if is_warm {
                let waited = |index| decided.saturating_sub(arrival(index));
                outcome.latencies.extend(new.map(waited));
            }
            let was_busy = self.part();
            let cost = self.rig.spent - spent;
            if is_warm {
                outcome.busy += cost;
            }
            clock += cost;
            if !is_new && !was_busy {
                clock = clock.max(arrival(self.known));
            }
        }
        outcome.latencies.sort_unstable();
        outcome.lasted = clock.saturating_sub(warm);
        outcome.parts = self.parts.since(before);
        outcome
    }
}

/// Software flows that come, are used a few times and go; those in the card are used there.
pub(super) fn measure(figures: &mut Vec<Figure>) {
    let (warm, measured) = match UNTIMED.load(Ordering::Relaxed) {
        true => (WARM / 8, MEASURED / 4),
        false => (WARM, MEASURED),
    };
    let total = (warm + measured).as_nanos() / PACE.as_nanos();
    let total = u32::try_from(total).expect("a few millions");
    let mut control = Control::new(total);
    let outcome = control.run(total, warm);
    let flows = control.rig.engine.totals().flow_count;
    let name = format!("control thread, 100,000 new flows/s, {flows} flows, 65,536 places");
    tell(figures, name, (outcome.percent(outcome.busy), "% of core"), "goal 50");
    let Parts { deciding, updating, counting, sweeping } = outcome.parts;
    for (what, time) in [
        ("deciding on new flows", deciding),
        ("updates of the card", updating),
        ("counts and ends of flows", counting),
        ("sweeps", sweeping),
    ] {
        tell(figures, format!("of it {what}"), (outcome.percent(time), "% of core"), "");
    }
    for (name, permille, goal) in [("p50", 500, ""), ("p99", 990, "goal 5"), ("p99.9", 999, "")] {
        let name = format!("first packet to decision, {name}");
        tell(figures, name, (outcome.latency(permille), "ms"), goal);
    }
}

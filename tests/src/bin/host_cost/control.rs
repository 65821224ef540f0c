//! The control thread under very many new flows: the loop of `twinpath run`, on virtual time.
//!
//! Each turn takes the packets that have arrived, hands out what follows, then does one part of what
//! can wait: some counts of software, a sweep, the engine's next part. The next turn begins when
//! the host's work of this one is done; the card's work takes no time.

use super::{Figure, Rig, key, make, tell};
use std::ops::Range;
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
}

impl Control {
    /// The packets of a turn: new flows, and packets of others, in the card or in software.
    fn packets(&mut self, new: Range<u32>) {
        let mut hits = Vec::new();
        for _ in 0..PACKETS * u32::try_from(new.len()).expect("a few") {
            // Within their first two seconds.
            let age = 1 + u32::try_from(self.random.below(200_000)).expect("below");
            let index = self.known.saturating_sub(age);
            let id = FlowId { index, generation: 0 };
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
        self.rig.host(|rig| {
            rig.made(&mut made);
            let (burst, told) = SAMPLED;
            for index in hits.chunks(burst).flat_map(|burst| burst.iter().take(told)) {
                let id = FlowId { index: *index, generation: 0 };
                rig.engine.handle(rig.now, Input::Hit { id, key: key(*index) });
            }
            rig.drain();
        });
        self.rig.settle();
        for index in new.chain(hits) {
            self.counts[index as usize] += Counts::one(60);
            self.touched.push(index);
        }
    }

    /// One part of what can wait; whether there was any.
    fn part(&mut self) -> bool {
        let Self { rig, counts, asked, touched, .. } = self;
        let mut was_busy = false;
        if std::mem::take(&mut rig.wants_counts) {
            touched.sort_unstable();
            touched.dedup();
            std::mem::swap(touched, asked);
            rig.reporting = true;
        }
        rig.host(|rig| {
            let now = rig.now;
            if rig.reporting {
                let rest = asked.len().saturating_sub(COUNTS_AT_ONCE);
                for index in asked.drain(rest..) {
                    let id = FlowId { index, generation: 0 };
                    rig.report(id, counts[index as usize]);
                }
                if asked.is_empty() {
                    rig.reporting = false;
                    rig.engine.handle(now, Input::SoftwareReported);
                }
                was_busy = true;
            }
            if rig.engine.next_timeout().is_some_and(|due| due <= now) {
                rig.engine.handle(now, Input::Timeout);
                was_busy = true;
            }
            rig.drain();
            // Software drops them at once.
            for id in std::mem::take(&mut rig.removed) {
                let counts = counts[id.index as usize];
                rig.engine.handle(now, Input::FlowGone { id, counts, last_used: None });
            }
            rig.drain();
        });
        if std::mem::take(&mut rig.wants_sweep) {
            rig.sweep();
            was_busy = true;
        }
        rig.settle();
        was_busy
    }
}

/// When a flow comes: with its burst.
fn arrival(index: u32) -> Duration {
    PACE * (index / BURST + 1) * BURST
}

/// Software flows that come, are used a few times and go; those in the card are used there.
pub(super) fn measure(figures: &mut Vec<Figure>) {
    let total = (WARM + MEASURED).as_nanos() / PACE.as_nanos();
    let total = u32::try_from(total).expect("a few millions");
    let mut frame = [0; 60];
    frame[12] = 0x08;
    frame[14..18].copy_from_slice(&[0x45, 0, 0, 46]);
    (frame[22], frame[23]) = (64, 17);
    let mut control = Control {
        rig: Rig::new(PLACES, 0, Settings::default()),
        random: Random::new(5),
        known: 0,
        counts: vec![Counts::default(); total as usize],
        touched: Vec::new(),
        asked: Vec::new(),
        frame,
    };
    let (mut clock, mut busy, mut latencies) = (Duration::ZERO, Duration::ZERO, Vec::new());
    while control.known < total {
        control.rig.now = Time::from_secs(10).after(clock).max(control.rig.now);
        let spent = control.rig.spent;
        let bursts = clock.as_nanos() / (PACE * BURST).as_nanos();
        let arrived = u32::try_from(bursts).expect("as many flows") * BURST;
        let new =
            control.known..arrived.clamp(control.known, control.known + FLOWS_AT_ONCE).min(total);
        let is_new = !new.is_empty();
        if is_new {
            control.packets(new.clone());
        }
        let decided = clock + (control.rig.spent - spent);
        if clock >= WARM {
            latencies.extend(new.map(|index| decided.saturating_sub(arrival(index))));
        }
        let was_busy = control.part();
        let cost = control.rig.spent - spent;
        if clock >= WARM {
            busy += cost;
        }
        clock += cost;
        if !is_new && !was_busy {
            clock = clock.max(arrival(control.known));
        }
    }
    latencies.sort_unstable();
    let at = |permille: usize| latencies[latencies.len() * permille / 1000].as_secs_f64() * 1e3;
    let flows = control.rig.engine.totals().flow_count;
    let share = busy.as_secs_f64() / clock.saturating_sub(WARM).as_secs_f64() * 100.0;
    let name = format!("control thread, 100,000 new flows/s, {flows} flows, 65,536 places");
    tell(figures, name, (share, "% of core"), "goal 50");
    for (name, permille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        let name = format!("first packet to decision, {name}");
        tell(figures, name, (at(permille), "ms"), if permille == 990 { "goal 5" } else { "" });
    }
}

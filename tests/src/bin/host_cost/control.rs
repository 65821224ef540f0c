//! The control thread under very many new flows.

use super::{Figure, Rig, key, make, tell};
use std::time::Duration;
use twinpath_flow::counters::Counts;
use twinpath_flow::sample::Random;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;
use twinpath_offload::Input;

/// Software flows that come, are used a few times and go; elephants in the card.
pub(super) fn measure(figures: &mut Vec<Figure>) {
    const NEW_PER_MS: u32 = 100;
    let mut rig = Rig::new(65_536, 0);
    let mut random = Random::new(5);
    let warm = 11_000;
    let total = warm + 2000;
    rig.install(0..65_536, 0);
    let mut counts = vec![Counts::default(); (65_536 + NEW_PER_MS * total) as usize];
    let (mut touched, mut asked): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut next = 65_536;
    let (mut latencies, mut busy, mut free_at) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for ms in 0..total {
        rig.now = Time(rig.now.0.max(u64::from(ms) * 1_000_000));
        let made = make(next..next + NEW_PER_MS, 0);
        let new = next..next + NEW_PER_MS;
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
            rig.made(made);
            for index in &again {
                let id = FlowId { index: *index, generation: 0 };
                rig.tell(Input::Hit { id, key: key(*index) });
            }
            rig.tell(Input::Timeout);
        });
        for index in new.chain(again) {
            counts[index as usize] += Counts::one(60);
            touched.push(index);
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

//! Workers: each forwards from a source of its own, with flow tables of its own.

use super::cycles;
use super::source::{Layout, Source};
use super::stages::{Part, Stages};
use crate::clock::Clock;
use anyhow::{Context as _, anyhow};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use twinpath_fallback::packet::Packet;
use twinpath_fallback::software_path::Totals;
use twinpath_fallback::{Kernel, Outbox, PacketPool, Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

/// Packets of a burst.
const BURST: usize = 32;

/// Bursts between two looks at the clock.
const BURSTS_PER_LOOK: usize = 64;

/// Flows a worker may keep.
const FLOWS_MAX: usize = 4_000_000;

/// What is done with each burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It is forwarded.
    Forward,
    /// It is forwarded, and each stage is timed.
    Watched,
    /// It is given back as it came: the cost of source and sink.
    SourceOnly,
}

/// Everything workers share.
pub(super) struct Plan {
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) layout: Layout,
    pub(super) port: PortNo,
    pub(super) kernel: Kernel,
    pub(super) seconds: Duration,
    /// Whether each run begins without flows and goes once through the frames.
    pub(super) cold: bool,
    pub(super) work: Work,
    pub(super) first_cpu: Option<usize>,
}

/// One worker's part of a run.
pub(super) struct Done {
    pub(super) packets: u64,
    pub(super) time: Duration,
    pub(super) ticks: u64,
    pub(super) stages: Stages,
    pub(super) totals: Totals,
    pub(super) flows: usize,
    pub(super) masks: usize,
    /// What the process' memory grew by since before the first packet.
    pub(super) memory: u64,
}

/// Runs all workers at the same time.
///
/// # Errors
/// There is no such CPU, or a worker panicked.
pub(super) fn measure(plan: &Plan, workers: usize) -> anyhow::Result<Vec<Done>> {
    let barrier = Barrier::new(workers);
    std::thread::scope(|scope| {
        let start = |number| {
            let barrier = &barrier;
            scope.spawn(move || run(plan, number, barrier))
        };
        let threads: Vec<_> = (0..workers).map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<Done>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a worker failed")))
        };
        threads.into_iter().map(join).collect()
    })
}

/// Source, software path and sink.
struct Rig {
    source: Source,
    path: SoftwarePath,
    pool: PacketPool,
    burst: Vec<Packet>,
    out: Outbox,
    stages: Stages,
}

impl Rig {
    fn new(plan: &Plan) -> anyhow::Result<Self> {
        let settings = Settings {
            flow_limit: FLOWS_MAX,
            hit_samples: 0,
            kernel: Some(plan.kernel),
            ..Settings::default()
        };
        let source = Source::new(&plan.frames, plan.layout, plan.port);
        Ok(Self {
            source: source.context("no memory for the frames")?,
            path: SoftwarePath::new(settings, Generation(0), Arc::clone(&plan.pipeline)),
            pool: PacketPool::new(4 * BURST),
            burst: Vec::with_capacity(BURST),
            out: Outbox::default(),
            stages: Stages::default(),
        })
    }

    #[inline(always)]
    fn turn(&mut self, work: Work, count: usize, now: Time) {
        let Self { source, path, pool, burst, out, stages } = self;
        match work {
            Work::Forward => {
                source.give(count, pool, burst);
                path.process(now, burst, pool, out);
                out.clear(pool);
            }
            Work::SourceOnly => {
                source.give(count, pool, burst);
                burst.drain(..).for_each(|packet| pool.give(packet));
            }
            Work::Watched => {
                stages.begin();
                source.give(count, pool, burst);
                stages.end(Part::Source);
                path.process_watched(now, burst, (pool, out), stages);
                out.clear(pool);
                stages.end(Part::Output);
            }
        }
    }
}

fn run(plan: &Plan, number: usize, barrier: &Barrier) -> anyhow::Result<Done> {
    if let Some(first) = plan.first_cpu {
        let mut cpus = CpuSet::new();
        let cpu = first + number;
        cpus.set(cpu);
        sched_setaffinity(None, &cpus).with_context(|| format!("cannot run on CPU {cpu}"))?;
    }
    let mut rig = Rig::new(plan)?;
    let frames = plan.frames.len();
    let before = resident();
    if !plan.cold {
        for _ in 0..(2 * frames).div_ceil(BURST).max(4096) {
            rig.turn(plan.work, BURST, Time(0));
        }
    }
    rig.stages = Stages::default();
    barrier.wait();
    let (clock, start) = (Clock::start(), cycles::now());
    let mut packets = 0_u64;
    let limit = if plan.cold { frames as u64 } else { u64::MAX };
    let mut time = Duration::ZERO;
    while packets < limit && (plan.cold || time < plan.seconds) {
        let now = Time(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        for _ in 0..BURSTS_PER_LOOK {
            let count = usize::try_from(limit - packets).unwrap_or(usize::MAX).min(BURST);
            rig.turn(plan.work, count, now);
            packets += count as u64;
        }
        time = clock.elapsed();
    }
    Ok(Done {
        packets,
        time,
        ticks: cycles::now().wrapping_sub(start),
        stages: rig.stages,
        totals: rig.path.totals(),
        flows: rig.path.flow_count(),
        masks: rig.path.mask_count(),
        memory: resident().saturating_sub(before),
    })
}

/// Bytes of memory the process has now; 0 when the kernel does not say.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: Option<u64> =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.unwrap_or(0) * 1024
}

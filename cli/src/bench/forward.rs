//! `twinpath bench forward`: packets a second through the software path, from memory to nowhere.

use super::frames::{Size, captured, made_up};
use super::source::{Layout, Source};
use crate::args;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::output;
use crate::run::rules::parse_text;
use anyhow::{Context as _, anyhow};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use twinpath_fallback::software_path::Totals;
use twinpath_fallback::{Kernel, Outbox, PacketPool, Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;
use twinpath_offload::RuleStore;

/// Packets of a burst.
const BURST: usize = 32;

/// Bursts between two looks at the clock.
const BURSTS_PER_LOOK: usize = 64;

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    kernel: String,
    workers: usize,
    frames: usize,
    rules: usize,
    flows: usize,
    masks: usize,
    layout: &'static str,
    /// Million packets a second, all workers together: the median of the runs, and all of them.
    mpps: f64,
    runs: Vec<f64>,
    /// The same of the source and sink alone, in the same layout.
    source_mpps: f64,
    /// Nanoseconds a packet and worker.
    ns_per_packet: f64,
    /// Packets by way in all runs.
    cache_hits: u64,
    tuple_hits: u64,
    flows_made: u64,
    exceptions: u64,
}

/// One worker's part of a run.
struct Part {
    packets: u64,
    time: Duration,
    totals: Totals,
    flows: usize,
    masks: usize,
}

/// Everything workers share.
struct Plan {
    frames: Vec<Vec<u8>>,
    pipeline: Arc<Pipeline>,
    layout: Layout,
    port: PortNo,
    kernel: Kernel,
    seconds: Duration,
    /// Whether each run begins without flows and goes once through the frames.
    cold: bool,
    /// Whether nothing is done with the packets.
    source_only: bool,
    first_cpu: Option<usize>,
}

/// Measures and prints.
///
/// # Errors
/// A file is wrong, a kernel is not there.
pub(crate) fn run(arguments: &args::Forward) -> Result<(), Failure> {
    let kernel: Kernel = arguments.kernel.parse().map_err(Failure::input)?;
    let frames = match &arguments.capture {
        Some(path) => captured(path).map_err(Failure::input)?,
        None => made_up(arguments.flows, size(&arguments.frame_size)?),
    };
    let longest = frames.iter().map(Vec::len).max().unwrap_or(0);
    if arguments.layout == Layout::Dpdk && longest > Source::LONGEST {
        let told = anyhow!("a frame of {longest} bytes: --layout compact takes such long ones");
        return Err(Failure::input(told));
    }
    let ports = Arc::new(crate::command::numbered_ports());
    let rules = match &arguments.rules {
        Some(path) => crate::run::rules::read(path, &ports).map_err(Failure::input)?,
        None => {
            let parsed = parse_text("rule", "actions=output:1", &ports);
            parsed.map_err(Failure::input)?.0
        }
    };
    let mut store = RuleStore::new();
    let count = rules.len();
    store.replace(rules);
    let mut plan = Plan {
        frames,
        pipeline: Arc::new(store.pipeline(ports)),
        layout: arguments.layout,
        port: PortNo(arguments.in_port),
        kernel,
        seconds: Duration::from_secs_f64(arguments.seconds),
        cold: arguments.cold,
        source_only: false,
        first_cpu: arguments.cpu,
    };
    let mut runs = Vec::new();
    let mut last = Vec::new();
    for _ in 0..arguments.runs {
        last = measure(&plan, arguments.workers).map_err(Failure::run)?;
        runs.push(rate(&last));
    }
    (plan.source_only, plan.cold) = (true, false);
    plan.seconds = plan.seconds.min(Duration::from_millis(500));
    let source = rate(&measure(&plan, arguments.workers).map_err(Failure::run)?);
    let mpps = median(&runs);
    let sum = |of: fn(&Totals) -> u64| last.iter().map(|part| of(&part.totals)).sum();
    let workers = u32::try_from(arguments.workers).unwrap_or(1);
    let report = Report {
        kernel: kernel.to_string(),
        workers: arguments.workers,
        frames: plan.frames.len(),
        rules: count,
        flows: last.iter().map(|part| part.flows).sum(),
        masks: last.iter().map(|part| part.masks).max().unwrap_or(0),
        layout: if plan.layout == Layout::Dpdk { "dpdk" } else { "compact" },
        mpps,
        source_mpps: source,
        ns_per_packet: 1e3 / mpps * f64::from(workers),
        runs,
        cache_hits: sum(|totals| totals.cache_hits),
        tuple_hits: sum(|totals| totals.tuple_hits),
        flows_made: sum(|totals| totals.flows_made),
        exceptions: sum(|totals| totals.exceptions),
    };
    if arguments.json { output::json(&report) } else { output::text(&text(&report)) }
}

fn size(text: &str) -> Result<Size, Failure> {
    if text == "imix" {
        return Ok(Size::Imix);
    }
    let bytes: Option<usize> = text.parse().ok();
    match bytes.filter(|bytes| (64..=9000).contains(bytes)) {
        // Counted with FCS, as everybody does.
        Some(bytes) => Ok(Size::Bytes(bytes - 4)),
        None => Err(Failure::input(anyhow!("--frame-size {text}: expected 64 to 9000, or imix"))),
    }
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Million packets a second of all workers.
fn rate(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.packets as f64 / part.time.as_secs_f64() / 1e6).sum()
}

fn measure(plan: &Plan, workers: usize) -> anyhow::Result<Vec<Part>> {
    let barrier = Barrier::new(workers);
    std::thread::scope(|scope| {
        let start = |number| {
            let barrier = &barrier;
            scope.spawn(move || worker(plan, number, barrier))
        };
        let threads: Vec<_> = (0..workers).map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<Part>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a worker failed")))
        };
        threads.into_iter().map(join).collect()
    })
}

fn worker(plan: &Plan, number: usize, barrier: &Barrier) -> anyhow::Result<Part> {
    if let Some(first) = plan.first_cpu {
        let mut cpus = CpuSet::new();
        cpus.set(first + number);
        let cpu = first + number;
        sched_setaffinity(None, &cpus).with_context(|| format!("cannot run on CPU {cpu}"))?;
    }
    let mut source = Source::new(&plan.frames, plan.layout, plan.port);
    let settings = Settings {
        flow_limit: 4_000_000,
        hit_samples: 0,
        kernel: Some(plan.kernel),
        ..Settings::default()
    };
    let mut path = SoftwarePath::new(settings, Generation(0), Arc::clone(&plan.pipeline));
    let mut pool = PacketPool::new(4 * BURST);
    let (mut burst, mut out) = (Vec::with_capacity(BURST), Outbox::default());
    let mut forward = |count: usize, now: Time| {
        source.give(count, &mut pool, &mut burst);
        if plan.source_only {
            burst.drain(..).for_each(|packet| pool.give(packet));
        } else {
            path.process(now, &mut burst, &mut pool, &mut out);
            out.clear(&mut pool);
        }
    };
    let frames = plan.frames.len();
    if !plan.cold {
        for _ in 0..(2 * frames).div_ceil(BURST).max(4096) {
            forward(BURST, Time(0));
        }
    }
    barrier.wait();
    let clock = Clock::start();
    let mut packets = 0_u64;
    let limit = if plan.cold { frames as u64 } else { u64::MAX };
    let mut time = Duration::ZERO;
    while packets < limit && (plan.cold || time < plan.seconds) {
        let now = Time(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        for _ in 0..BURSTS_PER_LOOK {
            let count = usize::try_from(limit - packets).unwrap_or(usize::MAX).min(BURST);
            forward(count, now);
            packets += count as u64;
        }
        time = clock.elapsed();
    }
    let (flows, masks) = (path.flow_count(), path.mask_count());
    Ok(Part { packets, time, totals: path.totals(), flows, masks })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let spread =
        |pick: fn(f64, f64) -> f64| report.runs.iter().copied().reduce(pick).unwrap_or(0.0);
    let (low, high) = (spread(f64::min), spread(f64::max));
    let _ = writeln!(
        text,
        "{:.2} Mpps (median of {}: {low:.2} to {high:.2}), {:.1} ns a packet and worker\n\
         kernel {}, {} workers, {} frames ({}), {} rules, {} flows under {} masks\n\
         source and sink alone: {:.2} Mpps\n\
         exact cache {}, tuple space {}, flows made {}, exceptions {} (last run)",
        report.mpps,
        report.runs.len(),
        report.ns_per_packet,
        report.kernel,
        report.workers,
        report.frames,
        report.layout,
        report.rules,
        report.flows,
        report.masks,
        report.source_mpps,
        report.cache_hits,
        report.tuple_hits,
        report.flows_made,
        report.exceptions,
    );
    text
}

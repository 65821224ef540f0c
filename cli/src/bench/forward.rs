//! `twinpath bench forward`: packets a second through the software path, from memory to nowhere.

use super::frames::{Size, captured, made_up};
use super::ports;
use super::source::{Layout, Source};
use super::stages::PerPacket;
use super::worker::{Done, Plan, Work, measure};
use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::run::rules::parse_text;
use anyhow::anyhow;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use twinpath_fallback::Kernel;
use twinpath_fallback::software_path::Totals;
use twinpath_flow::port::PortNo;
use twinpath_offload::RuleStore;

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
    /// Ticks of the processor's counter, likewise, and by stage in a run of its own.
    ticks_per_packet: f64,
    stages: Option<PerPacket>,
    /// Megabytes (10^6 bytes) the process grew by while the flows were made.
    memory_mb: f64,
    /// Packets by way in all runs.
    cache_hits: u64,
    tuple_hits: u64,
    flows_made: u64,
    exceptions: u64,
}

/// Measures and prints.
///
/// # Errors
/// A file is wrong, a kernel is not there.
pub(crate) fn run(arguments: &args::Forward) -> Result<(), Failure> {
    let (mut plan, count) = plan(arguments)?;
    let mut runs = Vec::new();
    let mut last = Vec::new();
    for _ in 0..arguments.runs {
        last = measure(&plan, arguments.workers).map_err(Failure::run)?;
        runs.push(rate(&last));
    }
    let ticks = sum(&last, |done| done.ticks) / sum(&last, |done| done.packets).max(1.0);
    let stages = match plan.cold {
        true => None,
        false => Some(watch(&mut plan, ticks).map_err(Failure::run)?),
    };
    (plan.work, plan.cold) = (Work::SourceOnly, false);
    plan.seconds = plan.seconds.min(Duration::from_millis(500));
    let source = rate(&measure(&plan, arguments.workers).map_err(Failure::run)?);
    let mpps = median(&runs);
    let total = |of: fn(&Totals) -> u64| last.iter().map(|done| of(&done.totals)).sum();
    let workers = u32::try_from(arguments.workers).unwrap_or(1);
    let report = Report {
        kernel: plan.kernel.to_string(),
        workers: arguments.workers,
        frames: plan.frames.len(),
        rules: count,
        flows: last.iter().map(|done| done.flows).sum(),
        masks: last.iter().map(|done| done.masks).max().unwrap_or(0),
        layout: if plan.layout == Layout::Dpdk { "dpdk" } else { "compact" },
        mpps,
        source_mpps: source,
        ns_per_packet: 1e3 / mpps * f64::from(workers),
        ticks_per_packet: ticks,
        stages,
        memory_mb: last.iter().map(|done| done.memory).max().unwrap_or(0) as f64 / 1e6,
        runs,
        cache_hits: total(|totals| totals.cache_hits),
        tuple_hits: total(|totals| totals.tuple_hits),
        flows_made: total(|totals| totals.flows_made),
        exceptions: total(|totals| totals.exceptions),
    };
    if arguments.json { output::json(&report) } else { output::text(&text(&report)) }
}

/// What the command line asks for, and the number of rules.
fn plan(arguments: &args::Forward) -> Result<(Plan, usize), Failure> {
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
    let port = PortNo(arguments.in_port);
    let ports = Arc::new(ports::table(arguments.gtpu, port));
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
    let plan = Plan {
        frames,
        pipeline: Arc::new(store.pipeline(ports)),
        layout: arguments.layout,
        port,
        kernel,
        seconds: Duration::from_secs_f64(arguments.seconds),
        cold: arguments.cold,
        work: Work::Forward,
        first_cpu: arguments.cpu,
    };
    Ok((plan, count))
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
fn rate(parts: &[Done]) -> f64 {
    parts.iter().map(|done| done.packets as f64 / done.time.as_secs_f64() / 1e6).sum()
}

/// Of all workers together.
fn sum(parts: &[Done], of: fn(&Done) -> u64) -> f64 {
    parts.iter().map(|done| of(done) as f64).sum()
}

/// Times each stage in a run of one worker.
fn watch(plan: &mut Plan, ticks: f64) -> anyhow::Result<PerPacket> {
    plan.work = Work::Watched;
    let done = measure(plan, 1)?;
    let [done] = done.as_slice() else { return Err(anyhow!("one worker was asked for")) };
    Ok(done.stages.per_packet(done.packets, ticks))
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let spread =
        |pick: fn(f64, f64) -> f64| report.runs.iter().copied().reduce(pick).unwrap_or(0.0);
    let (low, high) = (spread(f64::min), spread(f64::max));
    let _ = writeln!(
        text,
        "{:.2} Mpps (median of {}: {low:.2} to {high:.2}), {:.1} ns, {:.1} ticks a packet and worker\n\
         kernel {}, {} workers, {} frames ({}), {} rules, {} flows under {} masks\n\
         source and sink alone: {:.2} Mpps; {:.1} MB for the flows\n\
         exact cache {}, tuple space {}, flows made {}, exceptions {} (last run)",
        report.mpps,
        report.runs.len(),
        report.ns_per_packet,
        report.ticks_per_packet,
        report.kernel,
        report.workers,
        report.frames,
        report.layout,
        report.rules,
        report.flows,
        report.masks,
        report.source_mpps,
        report.memory_mb,
        report.cache_hits,
        report.tuple_hits,
        report.flows_made,
        report.exceptions,
    );
    text.extend(report.stages.map(|stages| stages.text()));
    text
}

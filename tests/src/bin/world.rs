//! `./check world`: seeded worlds, one line per group of seeds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its purpose")]

use rustix::time::{ClockId, clock_gettime};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use twinpath_hw_sim::fault::Class;
use twinpath_tests::heap::Counting;
use twinpath_tests::readings::number;
use twinpath_tests::world::run::{Found, live};
use twinpath_tests::world::scenario::{Changes, Faults, Scenario};
use twinpath_tests::world::shrink::shrink;
use twinpath_tests::world::{Deeds, day};

const USAGE: &str = "\
usage: world [day | soak TIME]

Lives seeded worlds: engine, driver, simulated card and software on virtual time,
held against the specification after every step.

  day             24 hours (HOURS=N) of churn on virtual time: sizes by the hour
  soak TIME       fresh seeds for that long: 90s, 30m, 2h

  SEED=N          only this one; a failure is not made smaller then
  SEEDS=N         so many, 100 unless said
  FIRST=N         from this one on, 1 unless said
  STEPS=N         steps of each, 10000 unless said
  STREAMS=N, RULES=N, CHANGES=0    less of a world, as a failure prints it
  FAULTS=a,b      only these classes of faults of the card; FAULTS=all for every one

examples:
  ./check world
  SEEDS=1000 ./check world
  SEED=17 STEPS=812 ./check world";

#[global_allocator]
static HEAP: Counting = Counting;

/// Seeds of one line.
const GROUP: u64 = 20;

/// The classes of faults asked for.
fn faults() -> Option<Faults> {
    let text = std::env::var("FAULTS").ok()?;
    if text == "all" {
        return Some(Faults::All);
    }
    let names = text.split(',').filter(|name| !name.is_empty());
    let classes = names.map(|name| name.parse().unwrap_or_else(|error| panic!("FAULTS: {error}")));
    Some(Faults::Only(classes.collect()))
}

fn scenario(seed: u64) -> Scenario {
    let whole = Scenario::new(seed);
    let size = |name| number(name).and_then(|value| usize::try_from(value).ok());
    Scenario {
        seed,
        steps: size("STEPS").unwrap_or(whole.steps),
        streams: size("STREAMS").unwrap_or(whole.streams),
        rules: size("RULES").unwrap_or(whole.rules),
        faults: faults().unwrap_or(whole.faults),
        changes: if number("CHANGES") == Some(0) { Changes::None } else { whole.changes },
    }
}

/// What all worlds did.
#[derive(Default)]
struct Totals {
    worlds: u64,
    deeds: Deeds,
    failed: Vec<(Scenario, Found)>,
}

impl Totals {
    fn add(&mut self, deeds: &Deeds) {
        self.worlds += 1;
        let sum = &mut self.deeds;
        sum.packets += deeds.packets;
        sum.by_card += deeds.by_card;
        sum.lost += deeds.lost;
        sum.changes += deeds.changes;
        sum.looks += deeds.looks;
        sum.time += deeds.time;
        sum.fired.iter_mut().zip(deeds.fired).for_each(|(sum, count)| *sum += count);
    }

    /// How often each class of faults struck, and those that never did.
    fn faults(&self) -> String {
        let fired = |class: &Class| self.deeds.fired[class.index()];
        let told: Vec<String> = Class::all()
            .filter(|class| fired(class) > 0)
            .map(|class| format!("{} {}", class.name(), fired(&class)))
            .collect();
        let never: Vec<&str> =
            Class::all().filter(|class| fired(class) == 0).map(Class::name).collect();
        format!("  faults: {}\n  never struck: {}", told.join(", "), never.join(", "))
    }

    fn line(&self) -> String {
        let deeds = &self.deeds;
        format!(
            "{:>5} worlds, {:>9} packets ({} % by card, {} lost), {} rule changes, {} looks, {:.0} s",
            self.worlds,
            deeds.packets,
            deeds.by_card * 100 / deeds.packets.max(1),
            deeds.lost,
            deeds.changes,
            deeds.looks,
            deeds.time.as_secs_f64(),
        )
    }
}

fn main() -> ExitCode {
    #[cfg(sabotage)]
    if std::env::args().any(|argument| argument == "sabotage") {
        return sabotage();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => {}
        ["day"] => return hours(number("SEED").unwrap_or(1), number("HOURS").unwrap_or(24)),
        ["soak", text] if seconds(text).is_some() => return soak(seconds(text).unwrap_or(0)),
        _ => {
            println!("{USAGE}");
            return if words == ["--help"] { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    }
    if let Some(seed) = number("SEED") {
        return one(&scenario(seed));
    }
    let first = number("FIRST").unwrap_or(1);
    many(first, number("SEEDS").unwrap_or(100))
}

/// A line per planted bug.
#[cfg(sabotage)]
fn sabotage() -> ExitCode {
    use twinpath_flow::sabotage::Bug;
    use twinpath_tests::world::sabotage::hunt;
    let seeds = number("SEEDS").unwrap_or(1000);
    let next = AtomicU64::new(0);
    let missed = AtomicU64::new(0);
    let work = || {
        while let Some(bug) = usize::try_from(next.fetch_add(1, Ordering::Relaxed))
            .ok()
            .and_then(|at| Bug::ALL.get(at))
        {
            let trial = hunt(*bug, seeds);
            let struck = trial.strikes;
            let share = struck.struck as f64 * 100.0 / struck.operations.max(1) as f64;
            let name = format!("{bug:?}");
            let told = match &trial.found {
                Some((seed, found)) => {
                    format!("found by seed {seed}, step {}: {}", found.step, found.failure.wrong)
                }
                None => format!("NOT FOUND in {seeds} seeds"),
            };
            let operations = struck.operations;
            println!("{name:<15} {told}; struck {} of {operations} ({share:.2} %)", struck.struck);
            if let Some((seed, found)) = &trial.unplanted {
                println!("{name:<15} WITHOUT it seed {seed} fails too: {found}");
            }
            if trial.found.is_none() || trial.unplanted.is_some() {
                missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..2).for_each(|_| _ = scope.spawn(&work));
    });
    if missed.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Hours of churn; a line each.
fn hours(seed: u64, hours: u64) -> ExitCode {
    println!(
        "{:>4} {:>9} {:>9} {:>11} {:>6} {:>6} {:>6} {:>7} {:>7}",
        "hour", "packets", "flows", "heap bytes", "flows", "known", "masks", "entries", "buffers"
    );
    let lived = day::live(seed, hours, &mut |sizes| {
        println!(
            "{:>4} {:>9} {:>9} {:>11} {:>6} {:>6} {:>6} {:>7} {:>7}",
            sizes.hour,
            sizes.packets,
            sizes.flows_made,
            sizes.heap,
            sizes.flows,
            sizes.known,
            sizes.masks,
            sizes.entries,
            sizes.buffers
        );
    });
    match lived {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("world {seed}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Fresh seeds until the time is over; what failed is told at once.
fn soak(seconds: u64) -> ExitCode {
    let first = number("FIRST").unwrap_or(1_000_000);
    let begun = clock_gettime(ClockId::Monotonic).tv_sec;
    let mut from = first;
    let mut code = ExitCode::SUCCESS;
    // Ends: the clock moves on.
    loop {
        let now = clock_gettime(ClockId::Monotonic).tv_sec;
        if u64::try_from(now - begun).is_ok_and(|passed| passed >= seconds) {
            println!("seeds {first} to {from}");
            return code;
        }
        if many(from, 200) == ExitCode::FAILURE {
            code = ExitCode::FAILURE;
        }
        from += 200;
    }
}

/// Seconds of `90s`, `30m`, `2h` or `90`.
fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) => (digits, text.chars().last()),
        None => (text, None),
    };
    let factor = match unit {
        Some('h') => 3600,
        Some('m') => 60,
        _ => 1,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn one(scenario: &Scenario) -> ExitCode {
    match live(scenario) {
        Ok(deeds) => {
            let mut totals = Totals::default();
            totals.add(&deeds);
            println!("{}, trace {:016x}", totals.line(), deeds.trace);
            ExitCode::SUCCESS
        }
        Err(found) => {
            eprintln!("world {}: {found}", scenario.seed);
            found.events.iter().for_each(|event| eprintln!("  {event}"));
            ExitCode::FAILURE
        }
    }
}

fn many(first: u64, count: u64) -> ExitCode {
    let next = AtomicU64::new(first);
    let totals = Mutex::new(Totals::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&next, first + count, &totals));
        }
    });
    let totals = totals.into_inner().expect("no thread panicked");
    println!("{}\n{}", totals.line(), totals.faults());
    if totals.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    for (scenario, found) in &totals.failed {
        eprintln!("world {} failed at {found}", scenario.seed);
        eprintln!("  again: {}", scenario.command());
    }
    for (scenario, found) in totals.failed.iter().take(1) {
        let (smaller, found) = shrink(scenario, found.clone());
        eprintln!("  smaller: {}\n    {found}", smaller.command());
    }
    ExitCode::FAILURE
}

/// Lives worlds until there are no more, or enough have failed.
fn work(next: &AtomicU64, end: u64, totals: &Mutex<Totals>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let scenario = scenario(seed);
        let lived = live(&scenario);
        let mut totals = totals.lock().expect("no thread panicked");
        match lived {
            Ok(deeds) => totals.add(&deeds),
            Err(found) => totals.failed.push((scenario, found)),
        }
        if totals.failed.len() >= 5 {
            return;
        }
        if totals.worlds > 0 && totals.worlds.is_multiple_of(GROUP) {
            println!("{}", totals.line());
        }
    }
}

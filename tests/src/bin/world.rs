//! `./check world`: seeded worlds, one line per group of seeds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its purpose")]

use rustix::time::{ClockId, clock_gettime};
use std::process::ExitCode;
use std::sync::Mutex;
#[cfg(sabotage)]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use twinpath_hw_sim::fault::Class;
use twinpath_tests::heap::Counting;
use twinpath_tests::readings::number;
use twinpath_tests::world::run::live;
use twinpath_tests::world::scenario::{Faults, Scenario};
use twinpath_tests::world::shrink::shrink;
use twinpath_tests::world::tally::Tally;
use twinpath_tests::world::{day, words};

const USAGE: &str = "\
usage: world [day | soak TIME]

Lives seeded worlds: engine, driver, simulated card and software on virtual time,
held against the specification after every step. First those that once found
something (tests/world-seeds), then some without faults, then those with all faults.

  day             24 hours (HOURS=N) of churn on virtual time: sizes by the hour
  soak TIME       fresh seeds for that long: 90s, 30m, 2h

  SEED=N          only this one; a failure is not made smaller then
  SEEDS=N         so many, 100 unless said
  FIRST=N         from this one on, 1 unless said
  STEPS=N         steps of each, 10000 unless said
  STREAMS=N, RULES=N, CHANGES=0    less of a world, as a failure prints it
  FAULTS=a,b      only these classes of faults of the card, or all, or none

examples:
  ./check world
  SEEDS=1000 ./check world
  SEED=17 STEPS=812 FAULTS=all ./check world";

#[global_allocator]
static HEAP: Counting = Counting;

/// Seeds of one line.
const GROUP: u64 = 20;

/// Failures after which no more worlds are begun.
const FAILURES_MAX: usize = 5;

/// Worlds without faults, one for so many with.
const PLAIN_SHARE: u64 = 4;

/// Worlds after which every class of faults must have struck.
const ENOUGH: u64 = 100;

/// The world asked for, but for its seed.
fn asked() -> Scenario {
    let mut scenario = Scenario { faults: Faults::All, ..Scenario::new(0) };
    for name in words::NAMES {
        if let Ok(value) = std::env::var(name) {
            scenario.set(name, &value).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    scenario
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
    if number("SEED").is_some() {
        return one(&asked());
    }
    let first = number("FIRST").unwrap_or(1);
    let count = number("SEEDS").unwrap_or(100);
    let is_whole = words::NAMES.iter().all(|name| std::env::var(name).is_err());
    if !is_whole {
        return many(&worlds(&asked(), first, count), "");
    }
    let replayed = words::regressions().unwrap_or_else(|error| panic!("world-seeds: {error}"));
    let plain = Scenario { faults: Faults::Only(Vec::new()), ..asked() };
    let codes = [
        many(&replayed, "that once found something"),
        many(&worlds(&plain, first, count / PLAIN_SHARE), "without faults"),
        many(&worlds(&asked(), first, count), "with all faults"),
    ];
    codes.into_iter().find(|code| *code != ExitCode::SUCCESS).unwrap_or(ExitCode::SUCCESS)
}

/// So many worlds alike but for their seeds.
fn worlds(scenario: &Scenario, first: u64, count: u64) -> Vec<Scenario> {
    (first..first + count).map(|seed| Scenario { seed, ..scenario.clone() }).collect()
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
        if many(&worlds(&asked(), from, 200), "") == ExitCode::FAILURE {
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
            let mut tally = Tally::default();
            tally.add(&deeds);
            println!("{}, trace {:016x}", tally.line(), deeds.trace);
            ExitCode::SUCCESS
        }
        Err(found) => {
            eprintln!("world {}: {found}", scenario.seed);
            found.events.iter().for_each(|event| eprintln!("  {event}"));
            ExitCode::FAILURE
        }
    }
}

/// Lives worlds on all cores; what they are is told in a word.
fn many(scenarios: &[Scenario], what: &str) -> ExitCode {
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| _ = scope.spawn(|| work(scenarios, &next, &tally)));
    });
    let tally = tally.into_inner().expect("no thread panicked");
    println!("{} {what}", tally.line());
    let has_faults = scenarios.iter().all(|scenario| scenario.faults == Faults::All);
    if has_faults {
        println!("{}", tally.faults());
    }
    let idle = tally.never_struck();
    if has_faults && tally.worlds >= ENOUGH && !idle.is_empty() {
        let names: Vec<&str> = idle.into_iter().map(Class::name).collect();
        eprintln!("never struck: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    if tally.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    for (scenario, found) in &tally.failed {
        eprintln!("world {} failed at {found}", scenario.seed);
        eprintln!("  again: {}", scenario.command());
    }
    for (scenario, found) in tally.failed.iter().take(1) {
        let (smaller, found) = shrink(scenario, found.clone());
        eprintln!("  smaller: {}\n    {found}", smaller.command());
    }
    ExitCode::FAILURE
}

/// Lives worlds until there are no more, or enough have failed.
fn work(scenarios: &[Scenario], next: &AtomicUsize, tally: &Mutex<Tally>) {
    // Ends: each turn takes one.
    while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
        let lived = live(scenario);
        let mut tally = tally.lock().expect("no thread panicked");
        match lived {
            Ok(deeds) => tally.add(&deeds),
            Err(found) => tally.failed.push((scenario.clone(), found)),
        }
        if tally.failed.len() >= FAILURES_MAX {
            return;
        }
        if tally.worlds > 0 && tally.worlds.is_multiple_of(GROUP) {
            println!("{}", tally.line());
        }
    }
}

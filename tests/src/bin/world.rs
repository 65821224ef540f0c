//! `./check world`: seeded worlds, one line per group of seeds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its purpose")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use twinpath_tests::readings::number;
use twinpath_tests::world::Deeds;
use twinpath_tests::world::run::{Found, live};
use twinpath_tests::world::scenario::{Changes, Scenario};
use twinpath_tests::world::shrink::shrink;

const USAGE: &str = "\
usage: world

Lives seeded worlds: engine, driver, simulated card and software on virtual time,
held against the specification after every step.

  SEED=N          only this one; a failure is not made smaller then
  SEEDS=N         so many, 100 unless said
  FIRST=N         from this one on, 1 unless said
  STEPS=N         steps of each, 10000 unless said
  STREAMS=N, RULES=N, CHANGES=0    less of a world, as a failure prints it

examples:
  ./check world
  SEEDS=1000 ./check world
  SEED=17 STEPS=812 ./check world";

/// Seeds of one line.
const GROUP: u64 = 20;

fn scenario(seed: u64) -> Scenario {
    let whole = Scenario::new(seed);
    let size = |name| number(name).and_then(|value| usize::try_from(value).ok());
    Scenario {
        seed,
        steps: size("STEPS").unwrap_or(whole.steps),
        streams: size("STREAMS").unwrap_or(whole.streams),
        rules: size("RULES").unwrap_or(whole.rules),
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
    if std::env::args().len() > 1 {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if let Some(seed) = number("SEED") {
        return one(&scenario(seed));
    }
    let first = number("FIRST").unwrap_or(1);
    many(first, number("SEEDS").unwrap_or(100))
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
    println!("{}", totals.line());
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

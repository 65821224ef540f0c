//! What goes wrong, when, and for how long: in each round of a world the card is well first, then has
//! faults, then is mended and must come to rest.

use super::World;
use super::failure::{Failure, Wrong};
use super::scenario::Scenario;
use std::time::Duration;
use twinpath_cli::run::recovery::Standing;
use twinpath_flow::card::Refusal;
use twinpath_flow::sample::Random;
use twinpath_flow::time::Time;
use twinpath_hw_sim::fault::{Chance, Class, Plan, Rate};
use twinpath_offload::view::{Place, TableView};
use twinpath_offload::why::WhyNot;

/// Steps of a round.
const ROUND: usize = 1000;

/// Step of a round at which faults begin.
const BEGINS: usize = 200;

/// Step of a round at which they end.
const ENDS: usize = 800;

/// A mended card is in use again, and everything wanted is in it, so long after its last failure.
const REST_MAX: Duration = Duration::from_secs(15);

/// What was done wrongly before a card was mended shows by then: the driver's longest deadline is that
/// of a sweep, 4 s.
const LATENT_MAX: Duration = Duration::from_millis(4_200);

/// Failures of a mended card that come of what was done wrongly before.
const LATENT_FAILURES: u64 = 12;

/// A flow that waits for so long waits for nothing.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Above that a bank of the small cards here may have no place for a key.
const BRIM_PERCENT: u32 = 75;

/// How often a card with faults is looked at, as a run does.
const LOOK: Duration = Duration::from_millis(1);

/// The same of a mended card; longer gaps the driver does not count as time watched.
const LOOK_MENDED: Duration = Duration::from_millis(4);

/// Between two packets of each stream while the world comes to rest, and while it stays at rest.
const BEATS: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// Between the packets of two streams: a small hold queue takes those that come while an entry is made.
const APART: Duration = Duration::from_micros(500);

/// What is going on in this round.
#[derive(Clone, Debug)]
pub struct Trouble {
    random: Random,
    /// Whether the card has faults now.
    pub is_on: bool,
    /// Whether it had any since the last look at everything.
    pub was_on: bool,
    /// Since when the card has been well.
    pub well_since: Time,
    /// Whether the card could not hold packets at some time since then.
    pub is_loose: bool,
}

impl Trouble {
    /// None yet.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { random, is_on: false, was_on: false, well_since: Time(0), is_loose: false }
    }

    /// The card has faults from now on.
    pub const fn begin(&mut self) {
        (self.is_on, self.was_on) = (true, true);
    }

    /// A plan for a round: some classes, each at a rate.
    fn plan(&mut self, scenario: &Scenario) -> Plan {
        let mut plan = Plan::new(self.random.next());
        for class in Class::all() {
            let (is_in, one_in) = (self.random.chance(25), self.rate(class));
            let amount = (class == Class::TableFull).then(|| self.random.next() % 40);
            if is_in && scenario.faults.has(class) {
                plan.set_rate(class, Rate { one_in, amount });
            }
        }
        plan
    }

    /// Often enough to be met in a round, seldom enough for something to be under way.
    fn rate(&mut self, class: Class) -> u32 {
        self.random.pick(match class.chance() {
            Chance::Completion | Chance::Command => &[50, 300, 2000],
            Chance::Add => &[10, 100],
            Chance::Record => &[100, 1000],
            Chance::Interrupt => &[10],
            Chance::Millisecond => &[50, 500, 2000],
            Chance::Frame => &[20, 500],
            Chance::Dma => &[500, 5000],
            Chance::Held => &[5, 50],
            Chance::Reset => &[2, 5],
        })
    }
}

impl World {
    /// Begins and ends trouble as the steps of a round want it.
    pub(super) fn trouble(&mut self, step: usize) -> Result<(), Failure> {
        if self.scenario.faults.is_none() {
            return Ok(());
        }
        match step % ROUND {
            BEGINS => {
                let plan = self.trouble.plan(&self.scenario);
                self.card.device().set_faults(plan);
                self.trouble.begin();
                Ok(())
            }
            ENDS => self.mend(),
            _ => Ok(()),
        }
    }

    /// How long a run sleeps at most: cards with faults are looked at more often.
    pub(super) const fn sleep_max(&self) -> Duration {
        match (self.trouble.is_on, self.trouble.was_on) {
            (true, _) => LOOK,
            (false, true) => LOOK_MENDED,
            (false, false) => super::SLEEP_MAX,
        }
    }

    /// Mends the card, lets everything come to rest, and looks at it.
    pub(super) fn mend(&mut self) -> Result<(), Failure> {
        if self.trouble.is_on {
            self.card.device().clear_faults();
            self.trouble.is_on = false;
            if self.has_miscounted() {
                // Its counters stay wrong until a reset, and nobody can say by how much.
                self.card.resume(self.now, &mut self.brain);
            }
            self.rest()?;
        }
        self.look()
    }

    /// Whether a fault has changed counters since the last look.
    fn has_miscounted(&mut self) -> bool {
        self.has_struck(Class::CounterWrapped) || self.has_struck(Class::CounterReset)
    }

    /// Whether a class of faults has struck since the last look.
    pub(super) fn has_struck(&mut self, class: Class) -> bool {
        let before = self.seen.fired.map_or(0, |before| before.of(class));
        self.card.device().fired().of(class) > before
    }

    /// Waits until everything is as wanted and has been for so long that nothing is latent.
    fn rest(&mut self) -> Result<(), Failure> {
        let failures = self.card.recovery().failures();
        let (mut since, mut known) = (self.now, failures);
        let mut calm: Option<Time> = None;
        loop {
            if self.card.recovery().standing() == Standing::LeftOut {
                self.card.resume(self.now, &mut self.brain);
            }
            for at in 0..self.streams.len() {
                self.send(at);
                self.pass(APART)?;
            }
            self.pass(BEATS[usize::from(calm.is_some())])?;
            if self.card.recovery().failures() > known {
                (since, known) = (self.now, self.card.recovery().failures());
            }
            let Some(unrest) = self.unrest() else {
                if self.now.since(*calm.get_or_insert(self.now)) > LATENT_MAX {
                    return Ok(());
                }
                continue;
            };
            calm = None;
            if self.now.since(since) > REST_MAX || known - failures > LATENT_FAILURES {
                let told = format!(
                    "{:?} after the card was mended or failed, {} failures since: {unrest}",
                    self.now.since(since),
                    known - failures
                );
                return Err(Wrong::Stuck.because(told));
            }
        }
    }

    /// Whether a table of the card has so few free places that a key may find none.
    fn has_full_table(&self) -> bool {
        let is_full = |table: &TableView| table.used * 100 >= table.capacity * BRIM_PERCENT;
        self.brain.engine.tables().iter().any(is_full)
    }

    /// What is not as wanted yet.
    fn unrest(&mut self) -> Option<String> {
        let (_, health) = self.card.describe(self.now);
        if health != "good" {
            return Some(format!("the card is {health}"));
        }
        if self.brain.is_changing() {
            return Some("a change of rules is under way".into());
        }
        let is_full = self.has_full_table();
        let waits = |why: &WhyNot| match why {
            // The nearer a bank is to its brim, the more keys find all their places taken.
            WhyNot::Refused(Refusal::TableFull) => !is_full,
            WhyNot::NoCard
            | WhyNot::CardDown
            | WhyNot::AwaitsCommit
            | WhyNot::Pending
            | WhyNot::Held
            | WhyNot::Refused(_) => true,
            _ => false,
        };
        // A bank may get another mask at any time: its flows wait for their next packets then.
        let is_long = |since: Time| self.now.since(since) > PATIENCE;
        let flow = self.brain.engine.flows().find(|view| {
            let waits = view.why_not.as_ref().is_some_and(waits);
            view.place == Place::Software && waits && is_long(view.since)
        });
        if let Some(view) = flow {
            return Some(format!("flow {:?} is in software: {:?}", view.id, view.why_not));
        }
        self.check_ledger().err().map(|failure| failure.to_string())
    }
}

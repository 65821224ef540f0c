//! Makes a failing world smaller, as long as it fails in the same way.

use super::failure::Wrong;
use super::run::{Found, live};
use super::scenario::{Changes, Faults, Scenario};
use twinpath_hw_sim::fault::Class;

/// Worlds tried at most.
const TRIES_MAX: usize = 200;

/// The smallest scenario found that fails like `found`, and its failure.
#[must_use]
pub fn shrink(scenario: &Scenario, found: Found) -> (Scenario, Found) {
    let mut best = Best { scenario: scenario.clone(), found, tries: 0 };
    let steps = best.found.step + 1;
    best.attempt(|scenario| scenario.steps = steps);
    best.attempt(|scenario| scenario.changes = Changes::None);
    let all: Vec<Class> = Class::all().filter(|class| scenario.faults.has(*class)).collect();
    best.attempt(|scenario| scenario.faults = Faults::Only(Vec::new()));
    for class in &all {
        best.attempt(|scenario| scenario.faults = without(&scenario.faults, *class));
    }
    for bit in (0..8).rev() {
        best.attempt(|scenario| scenario.streams = scenario.streams.min(1 << bit));
        best.attempt(|scenario| scenario.rules = scenario.rules.min(1 << bit));
    }
    let steps = best.found.step + 1;
    best.attempt(|scenario| scenario.steps = steps);
    (best.scenario, best.found)
}

/// All of those but one.
fn without(faults: &Faults, class: Class) -> Faults {
    let has = |other: &Class| *other != class && faults.has(*other);
    Faults::Only(Class::all().filter(has).collect())
}

/// The smallest so far.
struct Best {
    scenario: Scenario,
    found: Found,
    tries: usize,
}

impl Best {
    fn wrong(&self) -> Wrong {
        self.found.failure.wrong
    }

    /// Keeps a change if the world still fails alike.
    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) {
        let mut smaller = self.scenario.clone();
        change(&mut smaller);
        if smaller == self.scenario || self.tries >= TRIES_MAX {
            return;
        }
        self.tries += 1;
        if let Err(found) = live(&smaller)
            && found.failure.wrong == self.wrong()
        {
            (self.scenario, self.found) = (smaller, found);
        }
    }
}

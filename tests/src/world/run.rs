//! A whole life of a world.

use super::failure::{Failure, Wrong};
use super::scenario::Scenario;
use super::{Deeds, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use twinpath_hw_sim::fault::CLASSES;

/// Events told with a failure.
const EVENTS_TOLD: usize = 12;

/// A failure and the step at which it was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {failure}")]
pub struct Found {
    /// Steps done before.
    pub step: usize,
    /// What was wrong.
    pub failure: Failure,
    /// What the product told people last, newest first.
    pub events: Vec<String>,
}

/// Lives a scenario to its end.
///
/// # Errors
/// What went wrong, and when; a panic of the product is among it.
pub fn live(scenario: &Scenario) -> Result<Deeds, Found> {
    let (mut step, mut events) = (0, Vec::new());
    // Nothing of the world is used after a panic.
    let lived = catch_unwind(AssertUnwindSafe(|| course(scenario, &mut step, &mut events)));
    let result = lived.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(Wrong::Panic.because(text.unwrap_or("without words")))
    });
    result.map_err(|failure| Found { step, failure, events })
}

fn course(
    scenario: &Scenario,
    step: &mut usize,
    events: &mut Vec<String>,
) -> Result<Deeds, Failure> {
    let mut world = World::new(scenario)?;
    let lived = world.live(scenario.steps, step);
    if lived.is_err() {
        let told = world.brain.events.happenings(super::ORIGIN);
        let told = told.iter().rev().filter(|event| event.frame.is_none()).take(EVENTS_TOLD);
        *events = told.map(|event| format!("{:.6} {}", event.seconds, event.text)).collect();
    }
    let time = world.now.since(super::ORIGIN);
    let mut fired = [0; CLASSES];
    for (class, count) in world.card.device().fired().iter() {
        fired[class.index()] = count;
    }
    lived.map(|()| Deeds { time, fired, ..world.deeds })
}

impl World {
    fn live(&mut self, steps: usize, step: &mut usize) -> Result<(), Failure> {
        for at in 0..steps {
            *step = at;
            self.step(at)?;
        }
        *step = steps;
        self.mend()
    }
}

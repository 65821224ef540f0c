//! Bugs planted in the product, one at a time, until a seed finds each: what proves that the checkers
//! check. Only in builds with `--cfg sabotage`.

use super::run::{Found, live};
use super::scenario::{Faults, Scenario};
use twinpath_flow::sabotage::{Bug, Strikes, plant, strikes};

/// Steps of a world; shorter ones find as much a second.
const STEPS: usize = 3_000;

/// What became of a planted bug.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The bug.
    pub bug: Bug,
    /// The seed that found it, and how.
    pub found: Option<(u64, Found)>,
    /// Operations it touches, and those it spoilt, in all worlds up to that one.
    pub strikes: Strikes,
    /// How the same seeds fail without it, which they must not.
    pub unplanted: Option<(u64, Found)>,
}

fn scenario(seed: u64) -> Scenario {
    Scenario { steps: STEPS, faults: Faults::Only(Vec::new()), ..Scenario::new(seed) }
}

/// Plants a bug in one world after the other, `seeds` at most, until one finds it.
#[must_use]
pub fn hunt(bug: Bug, seeds: u64) -> Trial {
    let mut trial = Trial { bug, found: None, strikes: Strikes::default(), unplanted: None };
    for seed in 1..=seeds {
        plant(Some(bug), seed);
        let lived = live(&scenario(seed));
        let Strikes { operations, struck } = strikes();
        trial.strikes.operations += operations;
        trial.strikes.struck += struck;
        if let Err(found) = lived {
            trial.found = Some((seed, found));
            plant(None, 0);
            trial.unplanted = live(&scenario(seed)).err().map(|found| (seed, found));
            break;
        }
    }
    plant(None, 0);
    trial
}

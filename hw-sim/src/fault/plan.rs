//! What is to go wrong: rates, a script, a seed.

use super::class::{CLASSES, Class};

/// How often a class strikes by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// One chance in so many; 0: never, 1: every one.
    pub one_in: u32,
    /// Nanoseconds or entries, see [`Class`]; `None`: [`Class::default_amount`].
    pub amount: Option<u64>,
}

/// A scripted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Class.
    pub class: Class,
    /// From this time of the card's clock, nanoseconds.
    pub at: u64,
    /// For so many nanoseconds every chance is taken, and what lasts lasts, over resets too;
    /// `None`: the next chance only, and what lasts does so for the class's amount.
    pub lasts: Option<u64>,
    /// As [`Rate::amount`].
    pub amount: Option<u64>,
}

/// Why a plan cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The script is full.
    #[error("a script has at most {0} events")]
    TooMany(usize),
}

/// Rates by class, a script and a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) seed: u64,
    pub(super) rates: [Rate; CLASSES],
    pub(super) script: Vec<Incident>,
}

impl Plan {
    /// Events of a script at most; more are refused.
    pub const SCRIPT_MAX: usize = 1024;

    /// Nothing goes wrong yet; draws will come from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, rates: [Rate { one_in: 0, amount: None }; CLASSES], script: Vec::new() }
    }

    /// Every class at one chance in `one_in`.
    #[must_use]
    pub fn all(seed: u64, one_in: u32) -> Self {
        Self { rates: [Rate { one_in, amount: None }; CLASSES], ..Self::new(seed) }
    }

    /// Sets the rate of a class.
    #[must_use]
    pub fn with(mut self, class: Class, one_in: u32) -> Self {
        self.rates[class.index()].one_in = one_in;
        self
    }

    /// Sets rate and amount of a class.
    pub fn set_rate(&mut self, class: Class, rate: Rate) {
        self.rates[class.index()] = rate;
    }

    /// Rate of a class.
    #[must_use]
    pub const fn rate(&self, class: Class) -> Rate {
        self.rates[class.index()]
    }

    /// Adds an event to the script.
    ///
    /// # Errors
    /// [`PlanError::TooMany`].
    pub fn push(&mut self, incident: Incident) -> Result<(), PlanError> {
        if self.script.len() == Self::SCRIPT_MAX {
            return Err(PlanError::TooMany(Self::SCRIPT_MAX));
        }
        self.script.push(incident);
        Ok(())
    }

    /// The script's events that have not ended yet.
    #[must_use]
    pub fn script(&self) -> &[Incident] {
        &self.script
    }
}

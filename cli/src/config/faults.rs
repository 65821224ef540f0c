//! `[sim.faults]`: what goes wrong in the simulated card.

use super::place::Fault;
use super::raw::{Located, RawConfig};
use std::time::Duration;
use toml::Spanned;
use twinpath_hw_sim::fault::{Class, Incident, Plan, Rate};

/// Rates, a script whose times count from the beginning of the run, and a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Where draws come from.
    pub seed: u64,
    /// Rates by class.
    pub rates: Vec<(Class, Rate)>,
    /// Events.
    pub script: Vec<Incident>,
}

impl Faults {
    /// Whether nothing is to go wrong.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.script.is_empty()
    }

    /// What the file says.
    ///
    /// # Errors
    /// An unknown class, or a number out of range.
    pub(super) fn read(raw: &RawConfig) -> Result<Self, Located> {
        let Some(faults) = raw.sim.as_ref().and_then(|sim| sim.faults.as_ref()) else {
            return Ok(Self::default());
        };
        let seed = match &faults.seed {
            None => 0,
            Some(seed) => number("seed", seed)?,
        };
        let mut rates = Vec::new();
        for (name, one_in) in &faults.one_in {
            let class = class(name.get_ref(), name)?;
            let one_in = u32::try_from(*one_in.get_ref())
                .map_err(|_| out_of_range("one_in", one_in, "a number from 0 to 4294967295"))?;
            let given = faults.amount.iter().find(|(given, _)| given.get_ref() == name.get_ref());
            let amount = given.map(|(_, amount)| number("amount", amount)).transpose()?;
            rates.push((class, Rate { one_in, amount }));
        }
        let mut script = Vec::new();
        for event in &faults.script {
            let at = time(event.get_ref().at.as_ref())?.unwrap_or(0);
            let lasts = time(event.get_ref().lasts.as_ref())?;
            let name = &event.get_ref().class;
            let amount = event.get_ref().amount.as_ref();
            let amount = amount.map(|amount| number("amount", amount)).transpose()?;
            script.push(Incident { class: class(name.get_ref(), name)?, at, lasts, amount });
            if script.len() > Plan::SCRIPT_MAX {
                let (given, expected) = ("more events".to_owned(), "at most 1024 events");
                return Err((event.span(), Fault::Value { what: "script", given, expected }));
            }
        }
        Ok(Self { seed, rates, script })
    }
}

fn class(name: &str, place: &Spanned<String>) -> Result<Class, Located> {
    name.parse().map_err(|_| {
        let (given, expected) = (name.to_owned(), "a class of `twinpath sim fault list`");
        (place.span(), Fault::Value { what: "fault", given, expected })
    })
}

fn number(what: &'static str, given: &Spanned<i64>) -> Result<u64, Located> {
    u64::try_from(*given.get_ref()).map_err(|_| out_of_range(what, given, "a number from 0"))
}

fn out_of_range(what: &'static str, given: &Spanned<i64>, expected: &'static str) -> Located {
    (given.span(), Fault::Value { what, given: given.get_ref().to_string(), expected })
}

/// Seconds as nanoseconds.
fn time(given: Option<&Spanned<f64>>) -> Result<Option<u64>, Located> {
    let Some(given) = given else { return Ok(None) };
    let read = Duration::try_from_secs_f64(*given.get_ref()).ok();
    match read.and_then(|read| u64::try_from(read.as_nanos()).ok()) {
        Some(nanoseconds) => Ok(Some(nanoseconds)),
        None => {
            let (shown, expected) = (given.get_ref().to_string(), "seconds from 0");
            Err((given.span(), Fault::Value { what: "time", given: shown, expected }))
        }
    }
}

//! What a former process left, looked for before anything else is opened.

use super::state::{State, file};
use crate::clock::boot_ns;
use crate::config::Config;
use crate::hold::message::Name;
use crate::hold::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use twinpath_flow::time::Time;

/// A store of descriptors, the state file, and what was found in them.
#[derive(Debug)]
pub(crate) struct Heritage {
    /// Where descriptors are kept.
    pub store: Store,
    /// Where the state is kept.
    pub state_path: PathBuf,
    /// Names of the descriptors in the store.
    pub names: Vec<Name>,
    /// What there is to go on from.
    pub found: Option<Found>,
    /// Why there is nothing, when there should be.
    pub refused: Option<String>,
}

/// What there is to go on from.
#[derive(Debug)]
pub(crate) struct Found {
    /// Rules and counters.
    pub state: State,
    /// Descriptors by what they are.
    pub descriptors: BTreeMap<String, OwnedFd>,
}

impl Heritage {
    /// Looks in the store that the configuration names; `None` when it names none.
    ///
    /// # Errors
    /// The store cannot be had.
    pub(crate) fn look(config: &Config) -> Result<Option<Self>, StoreError> {
        let Some(hold) = &config.hold else { return Ok(None) };
        let mut store = Store::open(hold.clone())?;
        let held = store.take()?;
        let names = held.iter().map(|(name, _)| name.clone()).collect();
        let state_path = config.state_path();
        let (found, refused) = match find(config, &state_path, held) {
            Ok(found) => (found, None),
            Err(reason) => (None, Some(reason)),
        };
        Ok(Some(Self { store, state_path, names, found, refused }))
    }
}

/// The time of the run now: it went on while nobody was there.
pub(crate) fn time_now(state: &State) -> Time {
    Time(state.run.now.saturating_add(boot_ns().saturating_sub(state.run.boot_ns)))
}

/// What fits together: a state of this device and machine, and the descriptors it names.
fn find(config: &Config, path: &Path, held: Vec<(Name, OwnedFd)>) -> Result<Option<Found>, String> {
    if held.is_empty() {
        return Ok(None);
    }
    let state = file::read(path, &config.ports).map_err(|error| error.to_string())?;
    let state = state.ok_or_else(|| format!("{}: there is none", path.display()))?;
    let run = &state.run;
    if run.boot_ns > boot_ns() {
        return Err("the state is of before the machine was started".to_owned());
    }
    if run.device != config.device_text() {
        return Err(format!("the state is of device {}", run.device));
    }
    let ours = |(name, descriptor): (Name, OwnedFd)| {
        let what = name.as_str().strip_prefix(&run.id)?.strip_prefix('.')?.to_owned();
        Some((what, descriptor))
    };
    let descriptors: BTreeMap<String, OwnedFd> = held.into_iter().filter_map(ours).collect();
    if descriptors.is_empty() {
        return Err("state and descriptors are not of one process".to_owned());
    }
    Ok(Some(Found { state, descriptors }))
}

//! What a run on a real card begins with: the function, opened anew or gone on with, and what a former
//! process left.

use super::super::attach::{AttachError, Attached, attach, resume};
use crate::config::Config;
use crate::run::heritage::{Found, Heritage};
use crate::run::state::State;
use rustix::event::{Timespec, poll};
use std::sync::Arc;
use twinpath_flow::card::Generation;
use twinpath_host_driver::pci::Address;
use twinpath_host_driver::vfio::{Keepsakes, OpenError};

/// How often, and how many times, a group that is still held is tried again: systemd does not answer
/// when it has closed a descriptor.
const RETRY: (Timespec, u32) = (Timespec { tv_sec: 0, tv_nsec: 10_000_000 }, 100);

/// Names of what a function is made of, in the store.
pub(super) const NAMES: [&str; 3] = ["device", "container", "memory"];

/// A function and heritage.
#[derive(Debug)]
pub(crate) struct Start {
    pub(super) attached: Attached,
    pub(super) heritage: Option<Heritage>,
}

impl Start {
    /// Opens the function at `address`, or goes on with that of a former process if what it left is of
    /// use.
    ///
    /// # Errors
    /// [`AttachError`]: one line with the remedy.
    pub(crate) fn open(
        address: Address,
        config: &Config,
        mut heritage: Option<Heritage>,
    ) -> Result<Self, AttachError> {
        let resumed = heritage.as_mut().and_then(|heritage| go_on(address, config, heritage));
        if let Some(attached) = resumed {
            return Ok(Self { attached, heritage });
        }
        if let Some(heritage) = &mut heritage {
            // As long as a former process's descriptors are open nobody else can open the group.
            heritage.found = None;
            for name in std::mem::take(&mut heritage.names) {
                let removed = heritage.store.remove(&name);
                let _ = removed.inspect_err(|error| tracing::warn!("{error}"));
            }
        }
        let tries = if heritage.is_some() { RETRY.1 } else { 0 };
        let attached = attach_patiently(address, config, tries)?;
        Ok(Self { attached, heritage })
    }

    /// Why there is nothing to go on from, when there should be.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.heritage.as_ref()?.refused.as_deref()
    }

    /// What a former process left. A card without generations is in the one that was in force.
    pub(crate) fn former(&self) -> Option<(&State, Generation)> {
        let found = self.heritage.as_ref()?.found.as_ref()?;
        Some((&found.state, Generation(found.state.rules.generation)))
    }
}

fn attach_patiently(
    address: Address,
    config: &Config,
    tries: u32,
) -> Result<Attached, AttachError> {
    let mut left = tries;
    loop {
        match attach(address, &config.ports, config.ipv4_header) {
            Err(AttachError::Open(OpenError::InUse { .. })) if left > 0 => {
                left -= 1;
                // An interrupted wait is only a shorter one.
                let _ = poll(&mut [], Some(&RETRY.0));
            }
            result => return result,
        }
    }
}

/// The function of a former process; else why it is of no use is noted.
fn go_on(address: Address, config: &Config, heritage: &mut Heritage) -> Option<Attached> {
    let keepsakes = keepsakes(heritage.found.as_mut()?);
    let resumed = match keepsakes {
        None => Err("other descriptors are wanted than are held".to_owned()),
        Some(keepsakes) => {
            let ports = Arc::clone(&config.ports);
            resume(address, &ports, config.ipv4_header, keepsakes)
                .map_err(|error| error.to_string())
        }
    };
    resumed.inspect_err(|reason| heritage.refused = Some(reason.clone())).ok()
}

/// What the function is made of, if all is there.
fn keepsakes(found: &mut Found) -> Option<Keepsakes> {
    let [device, container, memory] = NAMES.map(|name| found.descriptors.remove(name));
    let keepsakes = Keepsakes { device: device?, container: container?, memory: memory? };
    found.descriptors.is_empty().then_some(keepsakes)
}

//! What a run begins with: its bus, and what a former process left.

use super::{ANSWER, driver_settings};
use crate::config::Config;
use crate::run::heritage::{Found, Heritage};
use crate::run::state::State;
use twinpath_abi::bus::Bus as _;
use twinpath_abi::register::GENERATION;
use twinpath_flow::card::Generation;
use twinpath_host_driver::vfio_user::bus::{Keepsakes, RemoteBus};
use twinpath_host_driver::vfio_user::sealed::SealError;

/// Bus and heritage.
#[derive(Debug)]
pub(crate) struct Start {
    pub(super) bus: RemoteBus,
    pub(super) heritage: Option<Heritage>,
}

impl Start {
    /// Opens the bus of `config`: that of a former process if what it left is of use.
    ///
    /// # Errors
    /// The system has no memory or descriptors.
    pub(crate) fn open(config: &Config, mut heritage: Option<Heritage>) -> Result<Self, SealError> {
        let (_, arena) = driver_settings(config);
        let bus = match heritage.as_mut().and_then(|heritage| resume(config, heritage, arena)) {
            Some(bus) => bus,
            None => {
                let path = config.socket.clone().unwrap_or_default();
                RemoteBus::new(&path, arena, config.workers + 1, ANSWER)?
            }
        };
        Ok(Self { bus, heritage })
    }

    /// Why there is nothing to go on from, when there should be.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.heritage.as_ref()?.refused.as_deref()
    }

    /// What a former process left, and the generation its card is in.
    pub(crate) fn former(&self) -> Option<(&State, Generation)> {
        let found = self.heritage.as_ref()?.found.as_ref()?;
        Some((&found.state, Generation(self.bus.read32(GENERATION.offset))))
    }
}

/// The bus of a former process; else why it is of no use is noted.
fn resume(config: &Config, heritage: &mut Heritage, arena: usize) -> Option<RemoteBus> {
    let found = heritage.found.as_mut()?;
    let path = config.socket.clone().unwrap_or_default();
    let resumed = match keepsakes(found, config.workers + 1) {
        None => Err("other descriptors are wanted than are held".to_owned()),
        Some(keepsakes) => {
            RemoteBus::resume(&path, keepsakes, arena, ANSWER).map_err(|error| error.to_string())
        }
    };
    resumed
        .inspect_err(|reason| {
            heritage.refused = Some(reason.clone());
            heritage.found = None;
        })
        .ok()
}

/// What the bus is made of, if all is there.
fn keepsakes(found: &mut Found, vectors: u16) -> Option<Keepsakes> {
    let descriptors = &mut found.descriptors;
    let bells = (0..vectors).map(|vector| descriptors.remove(&format!("bell{vector}")));
    let bells = bells.collect::<Option<Vec<_>>>()?;
    let (socket, memory) = (descriptors.remove("socket")?, descriptors.remove("memory")?);
    descriptors.is_empty().then_some(Keepsakes { socket, memory, bells })
}

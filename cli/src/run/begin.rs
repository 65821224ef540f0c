//! What a run begins with when its card outlives its daemon.

use super::heritage::Heritage;
use super::state::State;
use super::{hardware, remote};
use crate::config::{Config, Device};
use crate::failure::Failure;
use twinpath_flow::card::Generation;

/// A card that is there before the run is.
#[derive(Debug)]
pub(super) enum Begin {
    /// There is none.
    Nothing,
    /// In another process.
    Remote(Box<remote::Start>),
    /// On the PCI bus.
    Hardware(Box<hardware::Start>),
}

impl Begin {
    /// Looks for what a former process left, and opens what is needed to go on with it.
    ///
    /// # Errors
    /// The store or the card cannot be had.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        Ok(match config.device {
            Device::VfioUser => {
                let heritage = Heritage::look(config).map_err(Failure::run)?;
                let start = remote::Start::open(config, heritage);
                Self::Remote(Box::new(start.map_err(Failure::run)?))
            }
            Device::Vfio(address) => {
                let heritage = Heritage::look(config).map_err(Failure::run)?;
                let start = hardware::Start::open(address, config, heritage);
                Self::Hardware(Box::new(start.map_err(Failure::run)?))
            }
            Device::Sim | Device::None | Device::Reference => Self::Nothing,
        })
    }

    /// What a former process left, and the generation its card is in.
    pub(super) fn former(&self) -> Option<(&State, Generation)> {
        match self {
            Self::Nothing => None,
            Self::Remote(start) => start.former(),
            Self::Hardware(start) => start.former(),
        }
    }

    /// Why there is nothing to go on from, when there should be.
    pub(super) fn refused(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Remote(start) => start.refused(),
            Self::Hardware(start) => start.refused(),
        }
    }
}

//! The PCI network functions of a system, and what VFIO could do with each.

use super::readiness::{Obstacle, Process};
use super::sysfs::{Sysfs, attribute, hexadecimal, names, target};
use super::{Address, ConfigSnapshot, Interface};
use crate::pci::config::Capabilities;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Class of network controllers, in the upper byte of three.
const NETWORK: u32 = 0x02;
/// Bytes of the hugepages that DMA memory takes.
const HUGEPAGE: u64 = 2 << 20;

/// A PCI function of the network class.
#[derive(Clone, Debug)]
pub struct NetworkFunction {
    /// Where.
    pub address: Address,
    /// Vendor and device.
    pub identity: (u16, u16),
    /// Class, subclass and programming interface.
    pub class: u32,
    /// The driver it is bound to.
    pub driver: Option<String>,
    /// Interfaces that the driver made.
    pub interfaces: Vec<Interface>,
    /// IOMMU group.
    pub group: Option<u32>,
    /// The other functions of the group and their drivers.
    pub peers: Vec<(Address, Option<String>)>,
    /// From configuration space; all absent when only its header may be read.
    pub capabilities: Capabilities,
    /// Ways to reset it, as the kernel names them (`flr`, `bus`, …).
    pub reset_methods: Vec<String>,
    /// What keeps this process from opening it; empty: ready.
    pub obstacles: Vec<Obstacle>,
}

/// The list of functions cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct DiscoverError {
    /// The folder.
    pub path: PathBuf,
    /// By the kernel.
    pub error: io::Error,
}

/// Too few hugepages for the DMA memory; ordinary ones serve, at some cost in speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{free} free hugepages of 2 MiB, dma memory would take {wanted}; sysctl vm.nr_hugepages={}", total + wanted - free)]
pub struct FewHugepages {
    /// Free.
    pub free: u64,
    /// All, free or not.
    pub total: u64,
    /// Needed.
    pub wanted: u64,
}

impl Sysfs {
    /// All network functions by address, as `process` sees them.
    ///
    /// # Errors
    /// [`DiscoverError`] when there is no PCI bus.
    pub fn discover(&self, process: &Process) -> Result<Vec<NetworkFunction>, DiscoverError> {
        let path = self.functions();
        // The list itself must be there; a function that goes while we look is left out.
        fs::read_dir(&path).map_err(|error| DiscoverError { path: path.clone(), error })?;
        let mut addresses: Vec<Address> =
            names(&path).iter().filter_map(|name| name.parse().ok()).collect();
        addresses.sort();
        let functions = addresses.into_iter().filter_map(|at| self.network_function(at, process));
        Ok(functions.collect())
    }

    /// A function, if it is of the network class.
    fn network_function(&self, address: Address, process: &Process) -> Option<NetworkFunction> {
        let folder = self.function(address);
        let class = hexadecimal(&folder.join("class"))?;
        if class >> 16 != NETWORK {
            return None;
        }
        let half = |name: &str| hexadecimal(&folder.join(name))?.try_into().ok();
        let config = fs::read(folder.join("config")).ok();
        let config = config.and_then(|bytes| ConfigSnapshot::new(&bytes).ok());
        let group = self.group(address);
        let methods = attribute(&folder.join("reset_method")).unwrap_or_default();
        Some(NetworkFunction {
            address,
            identity: (half("vendor")?, half("device")?),
            class,
            driver: target(&folder.join("driver")),
            interfaces: self.interfaces(address),
            group,
            peers: group.map(|group| self.peers(group, address)).unwrap_or_default(),
            capabilities: config.and_then(|config| config.capabilities().ok()).unwrap_or_default(),
            reset_methods: methods.split_whitespace().map(str::to_owned).collect(),
            obstacles: self.obstacles(address, process),
        })
    }

    /// Tells when there are too few hugepages for the DMA memory of `process`.
    #[must_use]
    pub fn few_hugepages(&self, process: &Process) -> Option<FewHugepages> {
        let folder = self.path("sys/kernel/mm/hugepages/hugepages-2048kB");
        let count = |name: &str| attribute(&folder.join(name))?.parse().ok();
        let (free, total) = (count("free_hugepages")?, count("nr_hugepages")?);
        let wanted = process.wanted.div_ceil(HUGEPAGE);
        (free < wanted).then_some(FewHugepages { free, total, wanted })
    }
}

#[cfg(test)]
mod tests;

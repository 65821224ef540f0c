//! `devices`, `bind`, `unbind`: PCI functions and their drivers.

use crate::failure::Failure;
use crate::output;
use crate::view::devices::{Devices, text};
use std::path::Path;
use twinpath_host_driver::pci::bind::{BindError, Bound, InUse};
use twinpath_host_driver::pci::{Address, Process, Sysfs};
use twinpath_host_driver::vfio::Settings;

/// Lists the PCI network functions.
///
/// # Errors
/// There is no PCI bus, or nobody reads.
pub(super) fn list(root: &Path, json: bool) -> Result<(), Failure> {
    let (sysfs, process) =
        (Sysfs::at(root), Process::current(Settings::default().dma_bytes as u64));
    let functions = sysfs.discover(&process).map_err(Failure::run)?;
    let devices = Devices::new(&functions, sysfs.few_hugepages(&process));
    if json { output::json(&devices) } else { output::text(&text(&devices)) }
}

/// Gives a function to VFIO.
///
/// # Errors
/// Why not, with the remedy.
pub(super) fn bind(root: &Path, address: Address, in_use: InUse) -> Result<(), Failure> {
    tell(address, Sysfs::at(root).bind(address, in_use))
}

/// Gives a function back.
///
/// # Errors
/// Why not, with the remedy.
pub(super) fn unbind(root: &Path, address: Address) -> Result<(), Failure> {
    tell(address, Sysfs::at(root).unbind(address))
}

fn tell(address: Address, result: Result<Bound, BindError>) -> Result<(), Failure> {
    let Bound { former, now } = result.map_err(Failure::run)?;
    let name = |driver: Option<String>| driver.unwrap_or_else(|| "no driver".to_owned());
    output::text(&format!("{address}: {} now, {} before\n", name(now), name(former)))
}

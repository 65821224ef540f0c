//! Giving a function to `vfio-pci` and back to the driver it had.

use super::readiness::{Obstacle, VFIO_PCI, is_vfio};
use super::sysfs::{Sysfs, attribute, names, target};
use super::{Address, Interface};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is written to a function's `driver_override` to have none.
const NO_OVERRIDE: &str = "\n";
/// Where former drivers are remembered; gone after a reboot, as the binding is.
const MEMORY: &str = "run/twinpath/former-driver";

/// Whether a function is taken from an interface that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// No.
    Refuse,
    /// Yes: the interface vanishes.
    Take,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The driver it had before; `None`: none.
    pub former: Option<String>,
    /// The driver it has now; `None`: none.
    pub now: Option<String>,
}

/// Why a function was not bound or unbound. Except for [`BindError::Lost`], it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Something that binding cannot mend.
    #[error("{address}: {obstacle}; {}", obstacle.remedy(*address))]
    Obstacle {
        /// The function.
        address: Address,
        /// What.
        obstacle: Obstacle,
    },
    /// An interface is in use.
    #[error("{address}: its interface {} {}; {}", interface.name, why(interface), way_out(interface, *address))]
    InterfaceInUse {
        /// The function.
        address: Address,
        /// The interface.
        interface: Interface,
    },
    /// The function is not bound to `vfio-pci`.
    #[error("{address}: not bound to {VFIO_PCI} but to {}", driver.as_deref().unwrap_or("no driver"))]
    NotOurs {
        /// The function.
        address: Address,
        /// Its driver.
        driver: Option<String>,
    },
    /// A process has it open; unbinding would wait for it.
    #[error("{address}: process {process} has it open; end it first: kill {process}")]
    Held {
        /// The function.
        address: Address,
        /// Who.
        process: u32,
    },
    /// The kernel's file cannot be written.
    #[error("{address}: {}: {error}{}", path.display(), as_root(error))]
    Write {
        /// The function.
        address: Address,
        /// The file.
        path: PathBuf,
        /// By the kernel.
        error: io::Error,
    },
    /// The driver did not take it; the former driver has it again.
    #[error("{address}: {driver} did not take it; dmesg tells why")]
    NotTaken {
        /// The function.
        address: Address,
        /// Which driver.
        driver: String,
    },
    /// No driver took it, and it is without one now.
    #[error(
        "{address}: no driver took it; dmesg tells why; echo {address} > /sys/bus/pci/drivers_probe"
    )]
    Lost {
        /// The function.
        address: Address,
    },
}

fn why(interface: &Interface) -> &'static str {
    if interface.has_default_route { "carries the default route" } else { "is up" }
}

fn way_out(interface: &Interface, address: Address) -> String {
    let Interface { name, has_default_route, .. } = interface;
    if *has_default_route {
        format!("if you reach this machine another way: twinpath bind --force {address}")
    } else {
        format!("ip link set {name} down, or twinpath bind --force {address}")
    }
}

fn as_root(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { "; run it as root" } else { "" }
}

impl Sysfs {
    /// Binds a function to `vfio-pci` and remembers the driver it had.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(&self, address: Address, in_use: InUse) -> Result<Bound, BindError> {
        let folder = self.function(address);
        let former = self.driver_of(address);
        if former.as_deref().is_some_and(is_vfio) {
            return Ok(Bound { former: self.remembered(address), now: former });
        }
        if let Some(obstacle) = self.unbindable(address) {
            return Err(BindError::Obstacle { address, obstacle });
        }
        if in_use == InUse::Refuse
            && let Some(interface) = self.busiest(address)
        {
            return Err(BindError::InterfaceInUse { address, interface });
        }
        self.remember(address, former.as_deref())?;
        let bound = self
            .put(address, &folder.join("driver_override"), VFIO_PCI)
            .and_then(|()| self.release(address))
            .and_then(|()| self.probe(address));
        let now = self.driver_of(address);
        if bound.is_ok() && now.as_deref() == Some(VFIO_PCI) {
            return Ok(Bound { former, now });
        }
        // As it was: what goes wrong here is told by the driver that it has then.
        let _ = self.put(address, &folder.join("driver_override"), NO_OVERRIDE);
        self.forget(address);
        if self.driver_of(address).is_none() && former.is_some() {
            let _ = self.probe(address);
            if self.driver_of(address).is_none() {
                return Err(BindError::Lost { address });
            }
        }
        bound?;
        Err(BindError::NotTaken { address, driver: VFIO_PCI.to_owned() })
    }

    /// Takes a function from `vfio-pci` and gives it to the driver it had, or, when none is
    /// remembered, to the one the kernel chooses.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn unbind(&self, address: Address) -> Result<Bound, BindError> {
        let folder = self.function(address);
        if !folder.exists() {
            return Err(BindError::Obstacle { address, obstacle: Obstacle::Absent });
        }
        let driver = self.driver_of(address);
        if !driver.as_deref().is_some_and(is_vfio) {
            return Err(BindError::NotOurs { address, driver });
        }
        if let Some(process) = self.group(address).and_then(|group| self.holder(group)) {
            return Err(BindError::Held { address, process });
        }
        let wanted = self.remembered(address);
        self.put(address, &folder.join("driver_override"), NO_OVERRIDE)?;
        self.release(address)?;
        if let Some(name) = &wanted {
            // A driver that does not know the function by itself may refuse it; the kernel's
            // choice then stands.
            let _ = self.put(address, &self.driver(name).join("bind"), &address.to_string());
        }
        if self.driver_of(address).is_none() {
            self.probe(address)?;
        }
        self.forget(address);
        let now = self.driver_of(address);
        match (wanted, &now) {
            (Some(_), None) => Err(BindError::Lost { address }),
            _ => Ok(Bound { former: driver, now }),
        }
    }

    fn driver_of(&self, address: Address) -> Option<String> {
        target(&self.function(address).join("driver"))
    }

    /// What makes binding pointless.
    fn unbindable(&self, address: Address) -> Option<Obstacle> {
        if !self.function(address).exists() {
            return Some(Obstacle::Absent);
        }
        if self.group(address).is_none() {
            let has_groups = !names(&self.path("sys/kernel/iommu_groups")).is_empty();
            return Some(if has_groups { Obstacle::NotBehindIommu } else { Obstacle::NoIommu });
        }
        if self.driver(VFIO_PCI).exists() { None } else { self.missing_module(false) }
    }

    /// An interface in use, one with the default route first.
    fn busiest(&self, address: Address) -> Option<Interface> {
        let used = self.interfaces(address).into_iter();
        used.filter(|found| found.is_up || found.has_default_route)
            .max_by_key(|found| found.has_default_route)
    }

    /// A process that has the group open.
    fn holder(&self, group: u32) -> Option<u32> {
        let file = Path::new("/dev/vfio").join(group.to_string());
        let processes = names(&self.path("proc")).into_iter();
        processes.filter_map(|name| name.parse::<u32>().ok()).find(|process| {
            let folder = self.path(format!("proc/{process}/fd"));
            let mut open = names(&folder).into_iter();
            open.any(|name| fs::read_link(folder.join(name)).is_ok_and(|target| target == file))
        })
    }

    fn put(&self, address: Address, path: &Path, text: &str) -> Result<(), BindError> {
        self.write(path, text).map_err(|error| BindError::Write {
            address,
            path: path.to_owned(),
            error,
        })
    }

    /// Takes the function from its driver, if it has one.
    fn release(&self, address: Address) -> Result<(), BindError> {
        let path = self.function(address).join("driver/unbind");
        if path.exists() { self.put(address, &path, &address.to_string()) } else { Ok(()) }
    }

    /// Has the kernel look for a driver. It says nothing of a driver that fails.
    fn probe(&self, address: Address) -> Result<(), BindError> {
        self.put(address, &self.path("sys/bus/pci/drivers_probe"), &address.to_string())
    }

    fn memory(&self, address: Address) -> PathBuf {
        self.path(MEMORY).join(address.to_string())
    }

    fn remember(&self, address: Address, driver: Option<&str>) -> Result<(), BindError> {
        let path = self.memory(address);
        fs::create_dir_all(self.path(MEMORY))
            .and_then(|()| fs::write(&path, driver.unwrap_or_default()))
            .map_err(|error| BindError::Write { address, path, error })
    }

    /// The driver remembered; `None` when there was none or nothing is remembered.
    fn remembered(&self, address: Address) -> Option<String> {
        attribute(&self.memory(address)).filter(|name| !name.is_empty() && !name.contains('/'))
    }

    fn forget(&self, address: Address) {
        // Not there is as good as gone, and it is overwritten by the next bind.
        let _ = fs::remove_file(self.memory(address));
    }
}

#[cfg(test)]
mod tests;

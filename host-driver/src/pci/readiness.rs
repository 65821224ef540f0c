//! Whether this process could open a function through VFIO, and if not, why and what mends it.

use super::Address;
use super::sysfs::{Sysfs, attribute, names, target};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{Resource, getrlimit};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The driver that gives functions to processes.
pub(super) const VFIO_PCI: &str = "vfio-pci";
/// Drivers that VFIO allows beside it in a group, for they do no DMA of their own.
const HARMLESS: [&str; 2] = ["pci-stub", "pcieport"];
/// Bit of CAP_IPC_LOCK, which lifts RLIMIT_MEMLOCK (capability.h).
const IPC_LOCK: u32 = 14;

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// There is no such function.
    Absent,
    /// The system has no IOMMU groups at all.
    NoIommu,
    /// Others have a group, this function has none.
    NotBehindIommu,
    /// This kernel was built without a module.
    NoModule {
        /// Which.
        module: &'static str,
        /// The kernel's release.
        kernel: String,
    },
    /// A module is not loaded.
    NotLoaded {
        /// Which.
        module: &'static str,
    },
    /// Another driver has the function, or none.
    NotBound {
        /// Which.
        driver: Option<String>,
    },
    /// Functions of the group are bound to drivers that do DMA.
    SharedGroup {
        /// The group.
        group: u32,
        /// They and their drivers.
        others: Vec<(Address, String)>,
    },
    /// The kernel offers the function only as a VFIO cdev, which needs iommufd.
    OnlyCdev {
        /// The cdev's name in `/dev/vfio/devices`.
        name: String,
    },
    /// A device file is missing.
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// This process may not open a device file.
    NoPermission {
        /// Which.
        path: PathBuf,
    },
    /// RLIMIT_MEMLOCK is less than the DMA memory.
    MemoryLock {
        /// The limit in bytes.
        limit: u64,
        /// Bytes of DMA memory.
        wanted: u64,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(f, "no such function"),
            Self::NoIommu => write!(f, "no iommu"),
            Self::NotBehindIommu => write!(f, "not behind the iommu"),
            Self::NoModule { module, kernel } => write!(f, "kernel {kernel} has no {module}"),
            Self::NotLoaded { module } => write!(f, "{module} is not loaded"),
            Self::NotBound { driver: None } => write!(f, "not bound to {VFIO_PCI}"),
            Self::NotBound { driver: Some(driver) } => write!(f, "bound to {driver}"),
            Self::SharedGroup { group, others } => {
                write!(f, "iommu group {group} is shared with ")?;
                for (i, (address, driver)) in others.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{address} ({driver})")?;
                }
                Ok(())
            }
            Self::OnlyCdev { name } => {
                write!(f, "offered only as cdev {name}, which needs iommufd")
            }
            Self::NoFile { path } => write!(f, "no {}", path.display()),
            Self::NoPermission { path } => write!(f, "no permission on {}", path.display()),
            Self::MemoryLock { limit, wanted } => {
                write!(f, "memory lock limit {limit} is below {wanted} bytes of dma memory")
            }
        }
    }
}

impl Obstacle {
    /// What to do about it: a command where one does it.
    #[must_use]
    pub fn remedy(&self, address: Address) -> String {
        match self {
            Self::Absent => "lspci -D lists them; echo 1 > /sys/bus/pci/rescan".to_owned(),
            Self::NoIommu => "switch VT-d or AMD-Vi on in the firmware, and boot an Intel machine \
                 with intel_iommu=on"
                .to_owned(),
            Self::NotBehindIommu => "move the card to another slot".to_owned(),
            Self::NoModule { module, .. } => {
                format!("run a kernel with {module}, such as Debian's linux-image-amd64")
            }
            Self::NotLoaded { module } => format!("modprobe {module}"),
            Self::NotBound { .. } => format!("twinpath bind {address}"),
            Self::SharedGroup { others, .. } => {
                let each: Vec<_> =
                    others.iter().map(|(other, _)| format!("twinpath bind {other}")).collect();
                each.join("; ")
            }
            Self::OnlyCdev { .. } => "run a kernel with CONFIG_VFIO_GROUP".to_owned(),
            Self::NoFile { .. } => "modprobe vfio_iommu_type1".to_owned(),
            Self::NoPermission { path } => {
                format!("sudo chown $USER {}", path.display())
            }
            Self::MemoryLock { wanted, .. } => {
                format!("ulimit -l {}, or LimitMEMLOCK=infinity in the unit", wanted / 1024 + 1)
            }
        }
    }
}

/// What of the process decides whether it could open a function.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Bytes it may pin; `None` when there is no limit.
    pub memory_lock: Option<u64>,
    /// Bytes of DMA memory it wants.
    pub wanted: u64,
    /// Whether it may read and write a file.
    pub may_use: fn(&Path) -> io::Result<()>,
}

impl Process {
    /// This process, which wants `wanted` bytes of DMA memory.
    #[must_use]
    pub fn current(wanted: u64) -> Self {
        let is_capable = attribute(Path::new("/proc/self/status"))
            .is_some_and(|status| has_capability(&status, IPC_LOCK));
        let limit = getrlimit(Resource::Memlock).current;
        let memory_lock = if is_capable { None } else { limit };
        Self { memory_lock, wanted, may_use }
    }
}

fn may_use(path: &Path) -> io::Result<()> {
    accessat(CWD, path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS)?;
    Ok(())
}

/// Whether a driver is `vfio-pci` or its variant for one vendor's functions (`mlx5-vfio-pci`).
pub(super) fn is_vfio(driver: &str) -> bool {
    driver.strip_suffix(VFIO_PCI).is_some_and(|before| before.is_empty() || before.ends_with('-'))
}

/// Whether the effective set of `/proc/PID/status` holds a capability.
fn has_capability(status: &str, bit: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    set.is_some_and(|set| set >> bit & 1 == 1)
}

impl Sysfs {
    /// What keeps `process` from opening a function through VFIO, in the order of mending; empty
    /// when nothing does.
    #[must_use]
    pub fn obstacles(&self, address: Address, process: &Process) -> Vec<Obstacle> {
        let folder = self.function(address);
        if !folder.exists() {
            return vec![Obstacle::Absent];
        }
        let mut found = Vec::new();
        let group = self.group(address);
        if group.is_none() {
            let has_groups = !names(&self.path("sys/kernel/iommu_groups")).is_empty();
            found.push(if has_groups { Obstacle::NotBehindIommu } else { Obstacle::NoIommu });
        }
        let driver = target(&folder.join("driver"));
        let is_bound = driver.as_deref().is_some_and(is_vfio);
        found.extend(self.missing_module(is_bound));
        if !is_bound {
            found.push(Obstacle::NotBound { driver });
        }
        if let Some(group) = group {
            let others = self.disturbing(group, address);
            if !others.is_empty() {
                found.push(Obstacle::SharedGroup { group, others });
            }
            if is_bound {
                found.extend(self.unusable_file(address, group, process));
            }
        }
        let wanted = process.wanted;
        let limit = process.memory_lock.filter(|limit| is_bound && *limit < wanted);
        found.extend(limit.map(|limit| Obstacle::MemoryLock { limit, wanted }));
        found
    }

    /// The function's IOMMU group.
    pub(super) fn group(&self, address: Address) -> Option<u32> {
        target(&self.function(address).join("iommu_group"))?.parse().ok()
    }

    /// The other functions of a group and their drivers.
    pub(super) fn peers(&self, group: u32, address: Address) -> Vec<(Address, Option<String>)> {
        let members = names(&self.path(format!("sys/kernel/iommu_groups/{group}/devices")));
        let members = members.iter().filter_map(|name| name.parse().ok());
        let others = members.filter(|member| *member != address);
        others.map(|other| (other, target(&self.function(other).join("driver")))).collect()
    }

    /// The other functions of the group whose drivers make it unusable.
    fn disturbing(&self, group: u32, address: Address) -> Vec<(Address, String)> {
        let peers = self.peers(group, address).into_iter();
        let bound = peers.filter_map(|(peer, driver)| Some((peer, driver?)));
        let is_harmless = |driver: &str| HARMLESS.contains(&driver) || is_vfio(driver);
        bound.filter(|(_, driver)| !is_harmless(driver)).collect()
    }

    /// The module that is not there, of the two that are needed: the function's driver, which is
    /// there when it is bound, and the container.
    pub(super) fn missing_module(&self, is_bound: bool) -> Option<Obstacle> {
        let is_loaded = is_bound || self.driver(VFIO_PCI).exists();
        if is_loaded && self.path("sys/module/vfio_iommu_type1").exists() {
            return None;
        }
        // With iommufd in its place, the container needs no module of its own.
        if is_loaded && self.path("sys/module/iommufd").exists() {
            return None;
        }
        let module = if is_loaded { "vfio_iommu_type1" } else { VFIO_PCI };
        let kernel = attribute(&self.path("proc/sys/kernel/osrelease")).unwrap_or_default();
        let list = self.path(format!("lib/modules/{kernel}/modules.dep"));
        let is_installed = fs::read_to_string(list)
            .is_ok_and(|list| list.lines().any(|line| line.contains(&format!("/{module}.ko"))));
        Some(if is_installed {
            Obstacle::NotLoaded { module }
        } else {
            Obstacle::NoModule { module, kernel }
        })
    }

    /// The device file that is missing or closed to us, of the two that are needed.
    fn unusable_file(&self, address: Address, group: u32, process: &Process) -> Option<Obstacle> {
        let needed = ["vfio".to_owned(), group.to_string()];
        for name in needed {
            let (shown, path) =
                (Path::new("/dev/vfio").join(&name), self.path("dev/vfio").join(name));
            if !path.exists() {
                let cdev = names(&self.function(address).join("vfio-dev")).into_iter().next();
                return Some(match cdev {
                    Some(name) => Obstacle::OnlyCdev { name },
                    None => Obstacle::NoFile { path: shown },
                });
            }
            if (process.may_use)(&path).is_err() {
                return Some(Obstacle::NoPermission { path: shown });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;

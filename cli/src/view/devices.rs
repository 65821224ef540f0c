//! PCI network functions, for people and as JSON.

use super::{lines, table};
use serde::Serialize;
use twinpath_host_driver::pci::discover::FewHugepages;
use twinpath_host_driver::pci::{Interface, NetworkFunction};

/// The answer to `twinpath devices`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Devices {
    /// The functions, by address.
    pub functions: Vec<Device>,
    /// What is short although it works without; none: nothing.
    pub hint: Option<String>,
}

/// A PCI network function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Device {
    /// As in `device = "vfio:ADDRESS"`.
    pub address: String,
    /// Vendor, hexadecimal.
    pub vendor: String,
    /// Device, hexadecimal.
    pub device: String,
    /// Class, subclass and programming interface, hexadecimal.
    pub class: String,
    /// The driver it is bound to.
    pub driver: Option<String>,
    /// Interfaces the driver made.
    pub interfaces: Vec<Port>,
    /// IOMMU group.
    pub iommu_group: Option<u32>,
    /// The other functions of the group.
    pub group_peers: Vec<Peer>,
    /// MSI-X vectors; unknown without the right to read the configuration.
    pub msix_vectors: Option<u16>,
    /// Ways to reset it.
    pub reset_methods: Vec<String>,
    /// Whether this process could open it.
    pub ready: bool,
    /// Why not, in the order of mending.
    pub obstacles: Vec<Reason>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Port {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Whether the default route leads through it.
    pub default_route: bool,
}

/// Another function of the group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Peer {
    /// Its address.
    pub address: String,
    /// Its driver.
    pub driver: Option<String>,
}

/// An obstacle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Reason {
    /// What it is.
    pub reason: String,
    /// What mends it.
    pub remedy: String,
}

impl Devices {
    /// What was found.
    pub(crate) fn new(functions: &[NetworkFunction], few: Option<FewHugepages>) -> Self {
        Self {
            functions: functions.iter().map(Device::new).collect(),
            hint: few.map(|few| few.to_string()),
        }
    }
}

impl Device {
    fn new(function: &NetworkFunction) -> Self {
        let (vendor, device) = function.identity;
        let port = |found: &Interface| Port {
            name: found.name.clone(),
            up: found.is_up,
            default_route: found.has_default_route,
        };
        let peers = function.peers.iter();
        let obstacles = function.obstacles.iter();
        Self {
            address: function.address.to_string(),
            vendor: format!("{vendor:04x}"),
            device: format!("{device:04x}"),
            class: format!("{:06x}", function.class),
            driver: function.driver.clone(),
            interfaces: function.interfaces.iter().map(port).collect(),
            iommu_group: function.group,
            group_peers: peers
                .map(|(peer, driver)| Peer { address: peer.to_string(), driver: driver.clone() })
                .collect(),
            msix_vectors: function.capabilities.msix.map(|msix| msix.vectors),
            reset_methods: function.reset_methods.clone(),
            ready: function.obstacles.is_empty(),
            obstacles: obstacles
                .map(|found| Reason {
                    reason: found.to_string(),
                    remedy: found.remedy(function.address),
                })
                .collect(),
        }
    }

    /// Interfaces as one word each.
    fn ports(&self) -> String {
        let each = self.interfaces.iter().map(|port| {
            let route = if port.default_route { " default" } else { "" };
            format!("{} {}{route}", port.name, if port.up { "up" } else { "down" })
        });
        each.collect::<Vec<_>>().join(", ")
    }

    /// What is not in its line of the table, a line each.
    fn details(&self) -> String {
        let mut text = String::new();
        if !self.group_peers.is_empty() {
            let each = self.group_peers.iter().map(|peer| {
                let driver = peer.driver.as_deref().unwrap_or("no driver");
                format!("{} ({driver})", peer.address)
            });
            text += &format!("  in its group: {}\n", each.collect::<Vec<_>>().join(", "));
        }
        for Reason { reason, remedy } in &self.obstacles {
            text += &format!("  {reason}: {remedy}\n");
        }
        text
    }
}

/// A table, and below it for each function who shares its group and what mends what.
pub(crate) fn text(devices: &Devices) -> String {
    if devices.functions.is_empty() {
        return "no pci network functions\n".to_owned();
    }
    let mut table = table(&["function", "device", "driver", "group", "vfio", "interfaces"], &[3]);
    for device in &devices.functions {
        table.add_row([
            device.address.clone(),
            format!("{}:{}", device.vendor, device.device),
            device.driver.clone().unwrap_or_else(|| "-".to_owned()),
            device.iommu_group.map_or_else(|| "-".to_owned(), |group| group.to_string()),
            if device.ready { "ready" } else { "no" }.to_owned(),
            device.ports(),
        ]);
    }
    let mut text = lines(&table);
    for device in &devices.functions {
        let details = device.details();
        if !details.is_empty() {
            text += &format!("\n{}\n{details}", device.address);
        }
    }
    if let Some(hint) = &devices.hint {
        text += &format!("\n{hint}\n");
    }
    text
}

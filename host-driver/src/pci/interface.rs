//! The network interfaces that a function's driver made, and whether somebody relies on them.

use super::Address;
use super::sysfs::{Sysfs, attribute, hexadecimal, names, target};
use std::path::Path;

/// Flag of an interface that is up (`IFF_UP`).
const UP: u32 = 1;
/// Interfaces followed upwards (bridges, bonds, VLANs) from one; more are not built.
const UPPER_MAX: usize = 64;

/// A network interface of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether the default route leads through it, also by a bridge, bond or VLAN above it.
    pub has_default_route: bool,
}

impl Sysfs {
    /// The interfaces of a function.
    #[must_use]
    pub fn interfaces(&self, address: Address) -> Vec<Interface> {
        let folder = self.function(address);
        // Virtio's interfaces hang below a device of their own.
        let below = names(&folder).into_iter().filter(|name| name.starts_with("virtio"));
        let folders = std::iter::once(folder.clone()).chain(below.map(|name| folder.join(name)));
        let routed = self.routed();
        folders
            .flat_map(|folder| names(&folder.join("net")))
            .map(|name| {
                let flags = hexadecimal(&self.interface(&name).join("flags")).unwrap_or(0);
                let has_default_route =
                    self.above(&name).iter().any(|upper| routed.contains(upper));
                Interface { is_up: flags & UP != 0, has_default_route, name }
            })
            .collect()
    }

    fn interface(&self, name: &str) -> std::path::PathBuf {
        self.path("sys/class/net").join(name)
    }

    /// An interface and all that are built upon it.
    fn above(&self, name: &str) -> Vec<String> {
        let mut found = vec![name.to_owned()];
        let mut next = 0;
        while let Some(name) = found.get(next).filter(|_| next < UPPER_MAX) {
            let folder = self.interface(name);
            let uppers = names(&folder).into_iter();
            let mut uppers: Vec<_> =
                uppers.filter_map(|name| Some(name.strip_prefix("upper_")?.to_owned())).collect();
            uppers.extend(target(&folder.join("master")));
            uppers.retain(|upper| !found.contains(upper));
            found.extend(uppers);
            next += 1;
        }
        found
    }

    /// Interfaces with a default route, of either family.
    fn routed(&self) -> Vec<String> {
        let v4 = table(&self.path("proc/net/route"));
        let v6 = table(&self.path("proc/net/ipv6_route"));
        // proc(5): Iface Destination Gateway Flags RefCnt Use Metric Mask …
        let v4 = v4.iter().filter_map(|line| match line.as_slice() {
            [name, destination, _, _, _, _, _, mask, ..] => {
                (is_zero(destination) && is_zero(mask)).then(|| name.clone())
            }
            _ => None,
        });
        // Destination, its length, source, its length, next hop, metric, uses, flags, interface.
        let v6 = v6.iter().filter_map(|line| match line.as_slice() {
            [destination, length, .., name] => {
                (is_zero(destination) && is_zero(length) && name != "lo").then(|| name.clone())
            }
            _ => None,
        });
        v4.chain(v6).collect()
    }
}

fn is_zero(hexadecimal: &str) -> bool {
    !hexadecimal.is_empty() && hexadecimal.bytes().all(|digit| digit == b'0')
}

/// The words of the lines of a file.
fn table(path: &Path) -> Vec<Vec<String>> {
    let text = attribute(path).unwrap_or_default();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

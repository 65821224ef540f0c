//! Ports as the device numbers them.

use std::sync::Arc;
use twinpath_flow::port::{PortNo, PortTable};

/// Number of a port that the device has: from 1, never above its port count.
///
/// Numbers between the count and 62 crash QEMU in port settings and in groups, so this type is
/// made by [`PortMap`] alone, which knows the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pport(u32);

impl Pport {
    /// The number.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// The port's bit in port registers.
    pub(crate) const fn bit(self) -> u64 {
        1 << self.0
    }
}

/// Which port number is which port of the device.
#[derive(Clone, Debug)]
pub(crate) struct PortMap {
    count: u32,
    /// Ascending; the physical port at index i is port i + 1 of the device.
    numbers: Arc<[PortNo]>,
}

/// More physical ports are configured than the device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} physical ports are configured, the card has {has}")]
pub struct TooManyPorts {
    /// Configured.
    pub wanted: usize,
    /// Of the device.
    pub has: u32,
}

impl PortMap {
    /// The physical ports of `ports` on a device with `count` ports (at most 62).
    pub(crate) fn new(ports: &PortTable, count: u32) -> Result<Self, TooManyPorts> {
        let numbers: Arc<[PortNo]> = ports.physical().map(|port| port.number).collect();
        if numbers.len() > count as usize {
            return Err(TooManyPorts { wanted: numbers.len(), has: count });
        }
        Ok(Self { count, numbers })
    }

    /// The device's port of that number.
    pub(crate) fn find(&self, number: PortNo) -> Option<Pport> {
        let index = self.numbers.binary_search(&number).ok()?;
        u32::try_from(index + 1).ok().map(Pport)
    }

    /// The configured ports, ascending.
    pub(crate) fn configured(&self) -> impl Iterator<Item = (Pport, PortNo)> {
        (1..).map(Pport).zip(self.numbers.iter().copied())
    }

    /// All ports of the device.
    pub(crate) fn all(&self) -> impl Iterator<Item = Pport> + use<> {
        (1..=self.count).map(Pport)
    }

    /// The bits of the configured ports.
    pub(crate) fn configured_bits(&self) -> u64 {
        self.configured().fold(0, |bits, (port, _)| bits | port.bit())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use twinpath_flow::port::Port;

    /// Physical ports of these numbers.
    pub(crate) fn physical(numbers: &[u16]) -> PortTable {
        PortTable::new(numbers.iter().copied().map(Port::physical).collect()).unwrap()
    }

    #[test]
    fn a_port_number_beyond_the_devices_count_cannot_be_made() {
        let table = physical(&[5, 7, 9]);
        assert_eq!(PortMap::new(&table, 2).unwrap_err(), TooManyPorts { wanted: 3, has: 2 });
        let map = PortMap::new(&table, 3).unwrap();
        assert_eq!(map.find(PortNo(9)).map(Pport::number), Some(3));
        assert_eq!(map.find(PortNo(4)), None);
        assert_eq!(map.find(PortNo(10)), None);
        assert_eq!(map.configured_bits(), 0b1110);
        assert_eq!(map.all().last().map(Pport::number), Some(3));
    }
}

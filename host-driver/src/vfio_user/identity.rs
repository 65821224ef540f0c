//! PCI configuration space of a twin card (`docs/nic-abi.md` §15).

/// Vendor id: never assigned by the PCI-SIG; the one QEMU uses for devices of its own.
pub const VENDOR_ID: u16 = 0x1234;
/// Device id.
pub const DEVICE_ID: u16 = 0x7457;
/// Bytes of the configuration space.
pub const CONFIG_BYTES: usize = 256;
/// BAR with the MSI-X table and its pending bits.
pub const MSIX_BAR: u8 = 2;
/// Bytes of that BAR.
pub const MSIX_BAR_BYTES: u32 = 4096;
/// Where in it the pending bits are.
const PENDING: u32 = 2048;
/// Where the MSI-X capability is.
const MSIX_AT: usize = 0x40;

/// What of the configuration space can be written: offset, mask.
const WRITABLE: [(usize, u8); 4] = [
    // Memory space and bus master; interrupt disable.
    (4, 0x06),
    (5, 0x04),
    // MSI-X: function mask and enable.
    (MSIX_AT + 3, 0xc0),
    // Interrupt line, scratch for software.
    (0x3c, 0xff),
];

/// A configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; CONFIG_BYTES],
}

impl ConfigSpace {
    /// That of a card with so many interrupt vectors and a BAR 0 of so many bytes.
    ///
    /// # Panics
    /// When there is no vector, or more than MSI-X has.
    #[must_use]
    pub fn new(vectors: u16) -> Self {
        assert!((1..=2048).contains(&vectors), "MSI-X has 1 to 2048 vectors");
        let mut space = Self { bytes: [0; CONFIG_BYTES] };
        space.put(0x00, &VENDOR_ID.to_le_bytes());
        space.put(0x02, &DEVICE_ID.to_le_bytes());
        // Status: there is a list of capabilities.
        space.put(0x06, &0x0010_u16.to_le_bytes());
        // Class: Ethernet controller.
        space.put(0x0a, &[0x00, 0x02]);
        // BAR 0: memory, 64 bits wide (with BAR 1); BAR 2: memory, 32 bits.
        space.put(0x10, &[0x04]);
        space.put(0x2c, &VENDOR_ID.to_le_bytes());
        space.put(0x2e, &DEVICE_ID.to_le_bytes());
        space.put(0x34, &[0x40]);
        let bar = u32::from(MSIX_BAR);
        space.put(MSIX_AT, &[0x11, 0x00]);
        space.put(MSIX_AT + 2, &(vectors - 1).to_le_bytes());
        space.put(MSIX_AT + 4, &bar.to_le_bytes());
        space.put(MSIX_AT + 8, &(PENDING | bar).to_le_bytes());
        space
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Reads; whatever is beyond is the caller's to refuse.
    ///
    /// # Panics
    /// When it reaches beyond.
    pub fn read(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes[at..at + out.len()]);
    }

    /// Writes what can be written, ignores the rest.
    ///
    /// # Panics
    /// When it reaches beyond.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= CONFIG_BYTES, "beyond the configuration space");
        for (offset, mask) in WRITABLE {
            if let Some(value) = offset.checked_sub(at).and_then(|index| bytes.get(index)) {
                let kept = self.bytes[offset] & !mask;
                self.bytes[offset] = kept | value & mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_finds_ids_class_and_vectors() {
        let space = ConfigSpace::new(17);
        let mut head = [0; 16];
        space.read(0, &mut head);
        assert_eq!(head, [0x34, 0x12, 0x57, 0x74, 0, 0, 0x10, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        let mut msix = [0; 12];
        space.read(MSIX_AT, &mut msix);
        assert_eq!(msix, [0x11, 0, 16, 0, 2, 0, 0, 0, 2, 8, 0, 0]);
    }

    #[test]
    fn only_what_can_be_written_is() {
        let mut space = ConfigSpace::new(3);
        space.write(0, &[0xff; CONFIG_BYTES]);
        let mut head = [0; 8];
        space.read(0, &mut head);
        assert_eq!(head, [0x34, 0x12, 0x57, 0x74, 6, 4, 0x10, 0]);
        space.write(4, &[0, 0]);
        space.read(0, &mut head);
        assert_eq!(head[4..6], [0, 0]);
    }
}

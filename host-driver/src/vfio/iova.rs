//! Which bus addresses the IOMMU lets a device use, and which of them DMA memory takes.

use std::ops::RangeInclusive;

/// Flag of `vfio_iommu_type1_info`: page sizes are given.
const HAS_PAGE_SIZES: u32 = 1;
/// Flag of `vfio_iommu_type1_info`: a chain of capabilities follows.
const HAS_CAPABILITIES: u32 = 2;
/// Capability: ranges of valid bus addresses.
const RANGES: u16 = 1;
/// Capability: how many more mappings are allowed.
const AVAILABLE: u16 = 3;
/// Capabilities walked at most; the kernel has three.
const CAPABILITIES_MAX: usize = 16;
/// Without a list from the kernel (before 5.4): what every IOMMU and 39-bit device can do.
const COMMON: RangeInclusive<u64> = 0x10_0000..=0x7f_ffff_ffff;
/// The window of message interrupts on x86, which no DMA may use.
const MESSAGES: RangeInclusive<u64> = 0xfee0_0000..=0xfeef_ffff;

/// What `VFIO_IOMMU_GET_INFO` tells (Linux `include/uapi/linux/vfio.h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IommuInfo {
    /// Smallest page of the IOMMU in bytes.
    pub(super) page: u64,
    /// Valid bus addresses, both ends included.
    pub(super) ranges: Vec<RangeInclusive<u64>>,
    /// Mappings still allowed, when the kernel tells.
    pub(super) mappings_left: Option<u32>,
}

/// The `N` bytes at `at`.
fn bytes<const N: usize>(info: &[u8], at: usize) -> Option<[u8; N]> {
    info.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(info: &[u8], at: usize) -> Option<u16> {
    bytes(info, at).map(u16::from_ne_bytes)
}

fn word(info: &[u8], at: usize) -> Option<u32> {
    bytes(info, at).map(u32::from_ne_bytes)
}

fn long(info: &[u8], at: usize) -> Option<u64> {
    bytes(info, at).map(u64::from_ne_bytes)
}

impl IommuInfo {
    /// Reads the structure and its capabilities; `None` when it is cut short.
    pub(super) fn parse(info: &[u8]) -> Option<Self> {
        let flags = word(info, 4)?;
        let sizes = if flags & HAS_PAGE_SIZES == 0 { 4096 } else { long(info, 8)? };
        let mut found = Self {
            page: 1 << sizes.trailing_zeros().clamp(12, 30),
            ranges: Vec::new(),
            mappings_left: None,
        };
        let mut next = if flags & HAS_CAPABILITIES == 0 { 0 } else { word(info, 16)? as usize };
        for _ in 0..CAPABILITIES_MAX {
            if next == 0 {
                break;
            }
            match half(info, next)? {
                RANGES => found.ranges = ranges(info, next)?,
                AVAILABLE => found.mappings_left = Some(word(info, next + 8)?),
                _ => {}
            }
            next = word(info, next + 4)? as usize;
        }
        if found.ranges.is_empty() {
            let (below, above) = (MESSAGES.start() - 1, MESSAGES.end() + 1);
            found.ranges = vec![*COMMON.start()..=below, above..=*COMMON.end()];
        }
        Some(found)
    }

    /// Where `length` bytes aligned to `alignment` (a power of two) may go. Above 4 GiB where there
    /// is room: there, an address that lost its upper half faults instead of hitting.
    pub(super) fn place(&self, length: u64, alignment: u64) -> Option<u64> {
        let alignment = alignment.max(self.page);
        let from = |lowest: u64| {
            self.ranges.iter().find_map(|range| {
                let start = (*range.start()).max(lowest).checked_next_multiple_of(alignment)?;
                let last = start.checked_add(length.checked_sub(1)?)?;
                (last <= *range.end()).then_some(start)
            })
        };
        from(1 << 32).or_else(|| from(1 << 20))
    }
}

/// Reads the ranges of the capability at `at`.
fn ranges(info: &[u8], at: usize) -> Option<Vec<RangeInclusive<u64>>> {
    let count = word(info, at + 8)? as usize;
    let list = info.get(at + 16..)?.chunks_exact(16).take(count);
    if list.len() < count {
        return None;
    }
    list.map(|range| Some(long(range, 0)?..=long(range, 8)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the Debian 6.1 kernel says of an emulated VT-d with 39 bits.
    fn debian() -> Vec<u8> {
        let mut info = Vec::new();
        for word in [112u32, 3, 0x1000, 0, 24, 0] {
            info.extend(word.to_ne_bytes());
        }
        // Capability 3, available: 65535; then capability 1, two ranges.
        for word in [0x0001_0003u32, 40, 65535, 0] {
            info.extend(word.to_ne_bytes());
        }
        for word in [0x0001_0001u32, 0, 2, 0] {
            info.extend(word.to_ne_bytes());
        }
        for long in [0x1000u64, 0xfedf_ffff, 0xfef0_0000, 0x7f_ffff_ffff] {
            info.extend(long.to_ne_bytes());
        }
        info
    }

    #[test]
    fn ranges_page_size_and_mappings_are_read() {
        let info = IommuInfo::parse(&debian()).unwrap();
        assert_eq!(info.page, 4096);
        assert_eq!(info.ranges, [0x1000..=0xfedf_ffff, 0xfef0_0000..=0x7f_ffff_ffff]);
        assert_eq!(info.mappings_left, Some(65535));
    }

    #[test]
    fn dma_memory_goes_above_4_gib_where_it_can() {
        let mut info = IommuInfo::parse(&debian()).unwrap();
        assert_eq!(info.place(1 << 24, 1 << 21), Some(1 << 32));
        info.ranges = vec![0x1000..=0xfedf_ffff];
        assert_eq!(info.place(1 << 24, 1 << 21), Some(0x20_0000));
        assert_eq!(info.place(1 << 33, 4096), None);
        info.ranges = vec![0..=u64::MAX];
        assert_eq!(info.place(u64::MAX, 4096), None);
    }

    #[test]
    fn an_old_kernel_without_ranges_keeps_clear_of_the_message_window() {
        let info: Vec<u8> = [24u32, 1, 0x20_1000, 0, 0, 0].map(u32::to_ne_bytes).concat();
        let info = IommuInfo::parse(&info).unwrap();
        assert_eq!(info.page, 4096);
        assert_eq!(info.ranges, [0x10_0000..=0xfedf_ffff, 0xfef0_0000..=0x7f_ffff_ffff]);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(info in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(info) = IommuInfo::parse(&info) {
                prop_assert!(!info.ranges.is_empty());
            }
        }

        #[test]
        fn a_place_is_inside_a_range(
            ends in prop::collection::vec((any::<u64>(), any::<u64>()), 1..4),
            length in 1..1u64 << 40,
        ) {
            let ranges = ends.iter().map(|(a, b)| *a.min(b)..=*a.max(b)).collect();
            let info = IommuInfo { page: 4096, ranges, mappings_left: None };
            if let Some(start) = info.place(length, 1 << 21) {
                let last = start + (length - 1);
                prop_assert!(start.is_multiple_of(1 << 21));
                prop_assert!(info.ranges.iter().any(|r| r.contains(&start) && r.contains(&last)));
            }
        }
    }
}

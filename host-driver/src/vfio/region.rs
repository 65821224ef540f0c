//! Which parts of a BAR may be mapped.

use super::mmio::Region;
use crate::pci::config::Msix;
use std::iter;
use std::ops::Range;
use vfio_bindings::bindings::vfio::{
    VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
    VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_MMAP,
};
use vfio_ioctls::{VfioRegionInfoCap, VfioRegionInfoCapSparseMmap, VfioRegionSparseMmapArea};

/// Smallest unit of a mapping.
const PAGE: u32 = 4096;
/// Bytes of an MSI-X table entry.
const ENTRY: u32 = 16;

/// A region as the kernel describes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub(super) flags: u32,
    /// Bytes.
    pub(super) bytes: u64,
    /// Offset in the device's file.
    pub(super) offset: u64,
    /// Capabilities of the region.
    pub(super) capabilities: Vec<VfioRegionInfoCap>,
}

impl Description {
    /// What `vfio_region_info` and its capabilities say: argsz, flags, index, offset of the first
    /// capability, size, offset. `None` when they make no sense.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let small = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
        let long = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes);
        let (flags, size, offset) = (small(4)?, long(16)?, long(24)?);
        let mut capabilities = Vec::new();
        let mut next = usize::try_from(small(12)?).ok()?;
        if flags & VFIO_REGION_INFO_FLAG_CAPS == 0 {
            next = 0;
        }
        // Ends: each capability lies behind the one before, or nothing is read.
        while next != 0 {
            // `vfio_info_cap_header`: id and version of 16 bits, offset of the next.
            let (id, behind) = (small(next)? & 0xffff, usize::try_from(small(next + 4)?).ok()?);
            match id {
                VFIO_REGION_INFO_CAP_MSIX_MAPPABLE => {
                    capabilities.push(VfioRegionInfoCap::MsixMappable);
                }
                VFIO_REGION_INFO_CAP_SPARSE_MMAP => {
                    let count = usize::try_from(small(next + 8)?).ok()?;
                    let area = |index: usize| {
                        let at = next + 16 + 16 * index;
                        Some(VfioRegionSparseMmapArea { offset: long(at)?, size: long(at + 8)? })
                    };
                    let areas = (0..count).map_while(area).collect();
                    let list = VfioRegionInfoCapSparseMmap { areas };
                    capabilities.push(VfioRegionInfoCap::SparseMmap(list));
                }
                _ => {}
            }
            next = if behind > next { behind } else { 0 };
        }
        Some(Self { flags, bytes: size, offset, capabilities })
    }
}

/// What the kernel says of a BAR.
#[derive(Debug)]
pub(super) struct RegionInfo {
    /// Its number.
    pub(super) bar: u8,
    /// Offset in the device's file.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) length: u32,
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub(super) flags: u32,
    /// Capabilities of the region.
    pub(super) capabilities: Vec<VfioRegionInfoCap>,
}

impl RegionInfo {
    /// The region and its mappable parts: all of it, the kernel's sparse areas, or, where the
    /// kernel does not allow to map the MSI-X table, all but its pages.
    pub(super) fn region(self, msix: Option<Msix>) -> Region {
        let Self { bar, offset, length, flags, capabilities } = self;
        let mappable = if flags & VFIO_REGION_INFO_FLAG_MMAP == 0 {
            Vec::new()
        } else if let Some(areas) = sparse(&capabilities, length) {
            areas
        } else {
            let is_free = capabilities.contains(&VfioRegionInfoCap::MsixMappable);
            match msix.filter(|msix| msix.table_bar == bar && !is_free) {
                Some(msix) => around(length, msix),
                None => iter::once(0..length / PAGE * PAGE).collect(),
            }
        };
        let mappable = mappable.into_iter().filter(|area| area.start < area.end).collect();
        Region { offset, length, mappable }
    }
}

/// The kernel's list of areas, ascending and in whole pages; none when there is no list.
fn sparse(capabilities: &[VfioRegionInfoCap], length: u32) -> Option<Vec<Range<u32>>> {
    let list = capabilities.iter().find_map(|capability| match capability {
        VfioRegionInfoCap::SparseMmap(list) => Some(&list.areas),
        _ => None,
    })?;
    let mut areas: Vec<_> = list
        .iter()
        .filter_map(|area| {
            let start = u32::try_from(area.offset).ok()?.checked_next_multiple_of(PAGE)?;
            let end = u32::try_from(area.offset.checked_add(area.size)?).ok()?.min(length);
            Some(start..end / PAGE * PAGE)
        })
        .collect();
    areas.sort_by_key(|area| area.start);
    Some(areas)
}

/// The whole pages before and behind the MSI-X table.
fn around(length: u32, msix: Msix) -> Vec<Range<u32>> {
    let end = msix.table_offset.saturating_add(u32::from(msix.vectors) * ENTRY);
    let behind = end.checked_next_multiple_of(PAGE).unwrap_or(u32::MAX);
    vec![0..(msix.table_offset / PAGE * PAGE).min(length), behind..length / PAGE * PAGE]
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one area is meant")]
mod tests {
    use super::*;

    fn mappable(
        flags: u32,
        capabilities: Vec<VfioRegionInfoCap>,
        msix: Option<Msix>,
    ) -> Vec<Range<u32>> {
        let info = RegionInfo { bar: 0, offset: 7, length: 0x8000, flags, capabilities };
        info.region(msix).mappable
    }

    const MSIX: Msix = Msix {
        vectors: 300,
        table_bar: 0,
        table_offset: 0x2000,
        pending_bar: 0,
        pending_offset: 0x5000,
    };

    #[test]
    fn a_bar_without_the_table_is_mapped_whole() {
        let elsewhere = Msix { table_bar: 1, ..MSIX };
        assert_eq!(mappable(VFIO_REGION_INFO_FLAG_MMAP, vec![], None), [0..0x8000]);
        assert_eq!(mappable(VFIO_REGION_INFO_FLAG_MMAP, vec![], Some(elsewhere)), [0..0x8000]);
        let free = vec![VfioRegionInfoCap::MsixMappable];
        assert_eq!(mappable(VFIO_REGION_INFO_FLAG_MMAP, free, Some(MSIX)), [0..0x8000]);
    }

    #[test]
    fn the_pages_of_a_forbidden_table_are_left_out() {
        let areas = mappable(VFIO_REGION_INFO_FLAG_MMAP, vec![], Some(MSIX));
        assert_eq!(areas, [0..0x2000, 0x4000..0x8000]);
        let first = Msix { table_offset: 0, vectors: 8, ..MSIX };
        assert_eq!(mappable(VFIO_REGION_INFO_FLAG_MMAP, vec![], Some(first)), [0x1000..0x8000]);
        let beyond = Msix { table_offset: !7, ..MSIX };
        assert_eq!(mappable(VFIO_REGION_INFO_FLAG_MMAP, vec![], Some(beyond)), [0..0x8000]);
    }

    #[test]
    fn sparse_areas_are_kept_in_whole_pages() {
        let area = |offset, size| VfioRegionSparseMmapArea { offset, size };
        let areas = vec![area(0x3000, 0x1800), area(0x10, 0x2000), area(0x7000, 0x9000)];
        let list = vec![VfioRegionInfoCap::SparseMmap(VfioRegionInfoCapSparseMmap { areas })];
        assert_eq!(
            mappable(VFIO_REGION_INFO_FLAG_MMAP, list, Some(MSIX)),
            [0x1000..0x2000, 0x3000..0x4000, 0x7000..0x8000]
        );
    }

    #[test]
    fn a_region_is_read_with_its_capabilities() {
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_ne_bytes()).collect()
        };
        let flags = VFIO_REGION_INFO_FLAG_CAPS | VFIO_REGION_INFO_FLAG_MMAP;
        let sparse = VFIO_REGION_INFO_CAP_SPARSE_MMAP | 1 << 16;
        let free = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE | 1 << 16;
        let head = [104, flags, 0, 32, 0x8000, 0, 0x40, 0];
        let list = [sparse, 64, 1, 0, 0x1000, 0, 0x2000, 0];
        let bytes = words(&[&head[..], &list, &[free, 0]].concat());
        let areas = vec![VfioRegionSparseMmapArea { offset: 0x1000, size: 0x2000 }];
        let list = VfioRegionInfoCap::SparseMmap(VfioRegionInfoCapSparseMmap { areas });
        let capabilities = vec![list, VfioRegionInfoCap::MsixMappable];
        let wanted = Description { flags, bytes: 0x8000, offset: 0x40, capabilities };
        assert_eq!(Description::parse(&bytes), Some(wanted));
        // Cut, or in a circle: no more is read than is there.
        assert!((0..bytes.len()).all(|end| Description::parse(&bytes[..end]).is_none()));
        let circle = words(&[&head[..], &[free, 32]].concat());
        assert_eq!(Description::parse(&circle).unwrap().capabilities.len(), 1);
    }

    #[test]
    fn what_the_kernel_does_not_map_is_not_mapped() {
        assert!(mappable(0, vec![], None).is_empty());
    }
}

//! The kernel calls of VFIO that `vfio-ioctls` 0.10 lacks, hides the result of, or leaves unsafe.
//!
//! Linux `include/uapi/linux/vfio.h`. Reading and writing of regions needs nothing here: the
//! duplicated descriptor is a `File`, and pread and pwrite report errors, which
//! `VfioDevice::region_read` and `region_write` do not.
#![expect(unsafe_code, reason = "ioctls and a borrowed descriptor have no safe form")]

use super::dma::Arena;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_TYPE,
    vfio_iommu_type1_info, vfio_irq_info, vfio_region_info,
};
use vfio_ioctls::{VfioContainer, VfioDevice, VfioError};
use vmm_sys_util::eventfd::EventFd;

/// Number of `VFIO_DEVICE_GET_REGION_INFO`.
const GET_REGION_INFO: libc::Ioctl = request(8);
/// Number of `VFIO_DEVICE_GET_IRQ_INFO`.
const GET_IRQ_INFO: libc::Ioctl = request(9);
/// Number of `VFIO_DEVICE_SET_IRQS`.
const SET_IRQS: libc::Ioctl = request(10);
/// Number of `VFIO_DEVICE_RESET`.
const DEVICE_RESET: libc::Ioctl = request(11);
/// Number of `VFIO_IOMMU_GET_INFO`.
const IOMMU_GET_INFO: libc::Ioctl = request(12);

/// VFIO's numbers carry neither direction nor size.
const fn request(number: u32) -> libc::Ioctl {
    (VFIO_TYPE as libc::Ioctl) << 8 | (VFIO_BASE + number) as libc::Ioctl
}

/// Longest answer of `VFIO_IOMMU_GET_INFO` taken; the kernel's have some hundred bytes.
const INFO_BYTES_MAX: usize = 64 << 10;

/// The container's descriptor.
///
/// Gap: `VfioContainer` gives only its number.
pub(super) fn container(container: &VfioContainer) -> BorrowedFd<'_> {
    // SAFETY: the container owns this open descriptor, and is borrowed as long as the result.
    unsafe { BorrowedFd::borrow_raw(container.as_raw_fd()) }
}

/// The descriptor of an event.
///
/// Gap: `EventFd` gives only its number.
pub(super) fn event(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the event owns this open descriptor, and is borrowed as long as the result.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

/// A descriptor of our own for the device, for pread, pwrite, mmap and [`reset`].
///
/// Gap: `VfioDevice` gives only the number of its descriptor.
pub(super) fn duplicate(device: &VfioDevice) -> io::Result<File> {
    // SAFETY: the device owns this open descriptor, and is borrowed until the copy is made.
    let descriptor = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
    descriptor.try_clone_to_owned().map(File::from)
}

/// Resets the function.
///
/// Gap: `VfioDevice::reset` returns nothing, even when nothing was reset.
pub(super) fn reset(device: &File) -> io::Result<()> {
    // SAFETY: VFIO_DEVICE_RESET takes no argument; the kernel restores what it owns of the device
    // and touches no memory of ours.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), DEVICE_RESET) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What the IOMMU says of itself: `vfio_iommu_type1_info` and its capabilities, as bytes.
///
/// Gap: `vfio-ioctls` has no `VFIO_IOMMU_GET_INFO`, hence no ranges of valid bus addresses.
pub(super) fn iommu_info(container: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    ask(container, IOMMU_GET_INFO, size_of::<vfio_iommu_type1_info>(), 0)
}

/// What a region is: `vfio_region_info` and its capabilities, as bytes.
///
/// Gap: `vfio-ioctls` asks only for devices that it has opened itself.
pub(super) fn region_info(device: &File, index: u32) -> io::Result<Vec<u8>> {
    ask(device.as_fd(), GET_REGION_INFO, size_of::<vfio_region_info>(), index)
}

/// Interrupts of an index.
///
/// Gap: as [`region_info`].
pub(super) fn interrupt_count(device: &File, index: u32) -> io::Result<u32> {
    let bytes = ask(device.as_fd(), GET_IRQ_INFO, size_of::<vfio_irq_info>(), index)?;
    // `vfio_irq_info`: argsz, flags, index, count.
    Ok(bytes[12..].first_chunk().copied().map_or(0, u32::from_ne_bytes))
}

/// Asks a question whose answer begins with its own size and flags, and may be longer than expected.
/// `index` is the third field of those that have one.
fn ask(
    descriptor: BorrowedFd<'_>,
    question: libc::Ioctl,
    least: usize,
    index: u32,
) -> io::Result<Vec<u8>> {
    let mut bytes = least;
    // Twice: with room for the structure, then with as much room as the kernel asked for.
    for _ in 0..2 {
        // Whole words, so that the buffer is aligned for the structure.
        let mut info = vec![0u64; bytes.div_ceil(size_of::<u64>())];
        info[0] = first_word(bytes);
        info[1] = second_word(index);
        let pointer = info.as_mut_ptr();
        // SAFETY: the buffer is aligned to 8 and has at least the `argsz` bytes that its first
        // field names; the kernel writes no more than that many. It outlives the call.
        let result = unsafe { libc::ioctl(descriptor.as_raw_fd(), question, pointer) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let wanted = argument_size(info[0]).min(INFO_BYTES_MAX);
        if wanted <= bytes {
            return Ok(info.into_iter().flat_map(u64::to_ne_bytes).collect());
        }
        bytes = wanted;
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the size of the answer keeps growing"))
}

/// Has the kernel signal these descriptors for the vectors of an index, in place of any before.
///
/// Gap: as [`region_info`].
pub(super) fn set_interrupts(
    device: &File,
    index: u32,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let count = u32::try_from(descriptors.len()).map_err(io::Error::other)?;
    let head = [0, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, count];
    let numbers = descriptors.iter().map(|descriptor| descriptor.as_raw_fd().cast_unsigned());
    // `vfio_irq_set`: argsz, flags, index, start, count, then the descriptors, all of 32 bits.
    let mut request: Vec<u32> = head.into_iter().chain(numbers).collect();
    request[0] = u32::try_from(size_of_val(&*request)).map_err(io::Error::other)?;
    // SAFETY: the request has as many bytes as its first field says, and as many descriptors, all
    // open, as `count`; the kernel reads it and takes references to them. It outlives the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), SET_IRQS, request.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The fields `argsz` and `flags` (0), which lie in the first word.
fn first_word(bytes: usize) -> u64 {
    let [a, b, c, d] = u32::try_from(bytes).expect("at most INFO_BYTES_MAX").to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])
}

/// A third field of 32 bits, and 0.
fn second_word(index: u32) -> u64 {
    let [a, b, c, d] = index.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])
}

/// The field `argsz` of the first word.
fn argument_size(word: u64) -> usize {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d]) as usize
}

/// Maps the arena at its bus address, for reading and writing by the device.
///
/// Gap: the call is unsafe in `vfio-ioctls`, because it cannot know what the memory is.
pub(super) fn map(container: &VfioContainer, arena: &Arena) -> Result<(), VfioError> {
    // SAFETY: the range is exactly the arena's mapping, to which no reference exists or can be made
    // outside dma.rs, where all accesses are volatile. The device may thus read and write it at any
    // time. Should the arena go first, the kernel keeps the pages pinned until the container goes.
    unsafe { container.vfio_dma_map(arena.base().0, arena.bytes(), arena.start()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ioctl_numbers_are_those_of_the_header() {
        assert_eq!([GET_REGION_INFO, GET_IRQ_INFO, SET_IRQS], [0x3b6c, 0x3b6d, 0x3b6e]);
        assert_eq!(DEVICE_RESET, 0x3b6f);
        assert_eq!(IOMMU_GET_INFO, 0x3b70);
    }

    #[test]
    fn the_first_word_carries_the_size() {
        assert_eq!(argument_size(first_word(112)), 112);
    }

    #[test]
    fn a_file_that_is_no_device_has_no_regions_and_no_interrupts() {
        let file = File::open("/dev/null").unwrap();
        let is_refused = |error: io::Error| error.raw_os_error() == Some(libc::ENOTTY);
        assert!(region_info(&file, 0).is_err_and(is_refused));
        assert!(interrupt_count(&file, 0).is_err_and(is_refused));
        assert!(set_interrupts(&file, 0, &[]).is_err_and(is_refused));
    }

    #[test]
    fn a_file_that_is_no_device_is_not_reset() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(reset(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}

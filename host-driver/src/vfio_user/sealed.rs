//! Memory files that cannot shrink: a page that is cut off kills the process that touches it.

use rustix::fs::memfd_create;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Unit of what is mapped; the address space of the card has it too.
pub const PAGE: u64 = 4096;

/// Why a file is not mapped.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It could be cut off while it is mapped.
    #[error("the peer's memory file is not sealed against shrinking (F_SEAL_SHRINK)")]
    NotSealed,
    /// It is shorter than what is to be mapped.
    #[error("the peer's memory file has {bytes} bytes, {wanted} wanted")]
    Short {
        /// Its length.
        bytes: u64,
        /// The end of what is to be mapped.
        wanted: u64,
    },
    /// Not a whole number of pages.
    #[error("{bytes} bytes at {offset:#x} are not whole pages")]
    NotPages {
        /// Where in the file.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// The system refuses.
    #[error("memory file: {0}")]
    System(#[from] io::Error),
}

/// A new file of zeros that keeps its length.
///
/// # Errors
/// The system has no memory or descriptors.
pub fn create(name: &str, bytes: u64) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, bytes)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Whether `bytes` of a peer's file from `offset` on will stay there.
///
/// # Errors
/// [`SealError`].
pub fn check(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<(), SealError> {
    let whole = offset.is_multiple_of(PAGE) && bytes.is_multiple_of(PAGE) && bytes > 0;
    let end = offset.checked_add(bytes).filter(|_| whole);
    let wanted = end.ok_or(SealError::NotPages { offset, bytes })?;
    // Files that know no seals refuse the question.
    let seals = fcntl_get_seals(file).map_err(|_| SealError::NotSealed)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(SealError::NotSealed);
    }
    let length = u64::try_from(fstat(file).map_err(io::Error::from)?.st_size).unwrap_or(0);
    if length < wanted {
        return Err(SealError::Short { bytes: length, wanted });
    }
    Ok(())
}

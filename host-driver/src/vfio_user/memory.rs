//! `CardMemory` for a card that a server serves.

use super::bell;
use super::message::body::{DmaMap, DmaUnmap, dma};
use super::sealed::{self, PAGE, SealError};
use super::shared::{Pages, SharedMapping};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use twinpath_abi::bus::{CardMemory, DmaFault};
use twinpath_abi::register::BAR_BYTES;

/// Most DMA maps at a time.
pub const MAPS_MAX: usize = 256;

/// The card's view of the client: its DMA memory, its bells, the BAR both see. Clones are handles
/// to the same.
#[derive(Clone, Debug)]
pub struct ServedMemory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bar: SharedMapping,
    /// The file of the BAR that this client has, or the next one will get.
    bar_file: Mutex<Arc<OwnedFd>>,
    /// Ascending by address, not overlapping.
    maps: RwLock<Vec<Map>>,
    bells: RwLock<Vec<Option<OwnedFd>>>,
}

/// Memory of the client.
#[derive(Debug)]
struct Map {
    address: u64,
    flags: u32,
    mapping: SharedMapping,
}

impl Map {
    const fn bytes(&self) -> u64 {
        self.mapping.bytes() as u64
    }

    /// Where an address is in it.
    fn locate(&self, address: u64) -> Option<usize> {
        let start = address.checked_sub(self.address).filter(|start| *start < self.bytes())?;
        usize::try_from(start).ok()
    }
}

impl ServedMemory {
    /// Memory without a client, for a card with so many interrupt vectors.
    pub(crate) fn new(vectors: u16) -> Result<Self, SealError> {
        let file = sealed::create("twinpath-bar0", BAR_BYTES.into())?;
        let bar = SharedMapping::new(file.as_fd(), 0, BAR_BYTES.into())?;
        let inner = Inner {
            bar,
            bar_file: Mutex::new(Arc::new(file)),
            maps: RwLock::new(Vec::new()),
            bells: RwLock::new((0..vectors).map(|_| None).collect()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The registers.
    pub(crate) fn bar(&self) -> &SharedMapping {
        &self.inner.bar
    }

    /// The file of the registers, for a client.
    pub(crate) fn bar_file(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.inner.bar_file.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets the client: no more DMA, no more bells, and a BAR of its own, with the contents
    /// `image`, for whoever comes next.
    pub(crate) fn forget(&self, image: &[u8]) -> Result<(), SealError> {
        self.write_maps().clear();
        self.silence();
        let file = sealed::create("twinpath-bar0", BAR_BYTES.into())?;
        self.inner.bar.replace(file.as_fd(), Pages::Shared)?;
        self.inner.bar.write(0, image);
        *self.inner.bar_file.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
        Ok(())
    }

    /// Takes memory from the client.
    pub(crate) fn map(&self, map: &DmaMap, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let end = map.address.checked_add(map.bytes).ok_or(Errno::INVAL)?;
        let known = map.flags & !(dma::READ | dma::WRITE) == 0;
        if !known || !map.address.is_multiple_of(PAGE) {
            return Err(Errno::INVAL);
        }
        let mut maps = self.write_maps();
        let at = maps.partition_point(|other| other.address < map.address);
        let before = at.checked_sub(1).map(|before| &maps[before]);
        let overlaps = before.is_some_and(|other| other.address + other.bytes() > map.address)
            || maps.get(at).is_some_and(|other| other.address < end);
        if overlaps {
            return Err(Errno::EXIST);
        }
        if maps.len() >= MAPS_MAX {
            return Err(Errno::NOSPC);
        }
        let mapping =
            SharedMapping::new(file, map.offset, map.bytes).map_err(|error| match error {
                SealError::NotSealed => Errno::PERM,
                SealError::Short { .. } | SealError::NotPages { .. } => Errno::INVAL,
                SealError::System(error) => Errno::from_io_error(&error).unwrap_or(Errno::NOMEM),
            })?;
        maps.insert(at, Map { address: map.address, flags: map.flags, mapping });
        Ok(())
    }

    /// Gives memory back.
    pub(crate) fn unmap(&self, unmap: &DmaUnmap) -> Result<(), Errno> {
        let mut maps = self.write_maps();
        match unmap.flags {
            dma::UNMAP_ALL => maps.clear(),
            0 => {
                let same = |map: &Map| (map.address, map.bytes()) == (unmap.address, unmap.bytes);
                let at = maps.iter().position(same).ok_or(Errno::NOENT)?;
                maps.remove(at);
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// Wires vectors up; the caller has checked that there are so many.
    pub(crate) fn wire(&self, start: usize, bells: Vec<OwnedFd>) -> Result<(), Errno> {
        if !bells.iter().all(|descriptor| bell::is_bell(descriptor.as_fd())) {
            return Err(Errno::INVAL);
        }
        let mut places = self.write_bells();
        for (place, bell) in places[start..].iter_mut().zip(bells) {
            *place = Some(bell);
        }
        Ok(())
    }

    /// Disables all vectors.
    pub(crate) fn silence(&self) {
        self.write_bells().fill_with(|| None);
    }

    /// Number of vectors.
    pub(crate) fn vectors(&self) -> usize {
        self.read_bells().len()
    }

    /// Walks over the maps that hold `length` bytes from `address` on, which must allow `flag`.
    fn pieces(
        &self,
        (address, length): (u64, usize),
        flag: u32,
        access: &mut dyn FnMut(&SharedMapping, usize, std::ops::Range<usize>),
    ) -> Result<(), DmaFault> {
        let fault = DmaFault { iova: address, length };
        let maps = self.inner.maps.read().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        // Ends: every turn takes at least a byte.
        while done < length {
            let at = address.checked_add(done as u64).ok_or(fault)?;
            let index =
                maps.partition_point(|map| map.address <= at).checked_sub(1).ok_or(fault)?;
            let map = &maps[index];
            let start = map.locate(at).filter(|_| map.flags & flag != 0).ok_or(fault)?;
            let count = (length - done).min(map.mapping.bytes() - start);
            access(&map.mapping, start, done..done + count);
            done += count;
        }
        Ok(())
    }

    fn write_maps(&self) -> RwLockWriteGuard<'_, Vec<Map>> {
        self.inner.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_bells(&self) -> RwLockReadGuard<'_, Vec<Option<OwnedFd>>> {
        self.inner.bells.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_bells(&self) -> RwLockWriteGuard<'_, Vec<Option<OwnedFd>>> {
        self.inner.bells.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CardMemory for ServedMemory {
    fn bar_bytes(&self) -> u32 {
        BAR_BYTES
    }

    fn load32(&self, offset: u32) -> u32 {
        self.inner.bar.load32(offset as usize)
    }

    fn store32(&self, offset: u32, value: u32) {
        self.inner.bar.store32(offset as usize, value);
    }

    fn dma_read(&self, from: u64, out: &mut [u8]) -> Result<(), DmaFault> {
        self.pieces((from, out.len()), dma::READ, &mut |mapping, start, part| {
            mapping.read(start, &mut out[part]);
        })
    }

    fn dma_write(&self, to: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        self.pieces((to, bytes.len()), dma::WRITE, &mut |mapping, start, part| {
            mapping.write(start, &bytes[part]);
        })
    }

    fn raise(&self, vector: u16) {
        if let Some(Some(bell)) = self.read_bells().get(usize::from(vector)) {
            bell::ring(bell.as_fd());
        }
    }
}

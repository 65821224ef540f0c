//! What the server answers to each message of a client that has greeted.

use super::{Function, Server};
use crate::vfio_user::connection::Message;
use crate::vfio_user::identity::{CONFIG_BYTES, MSIX_BAR, MSIX_BAR_BYTES};
use crate::vfio_user::message::BodyError;
use crate::vfio_user::message::body::{DeviceInfo, DmaMap, DmaUnmap, RegionAccess, device};
use crate::vfio_user::message::header::Command;
use crate::vfio_user::message::interrupt::{self, InterruptInfo, MSIX, SetInterrupts, set};
use crate::vfio_user::message::region::{Area, RegionInfo, flag};
use crate::vfio_user::{CONFIG_REGION, REGIONS};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use twinpath_abi::bus::CardMemory as _;
use twinpath_abi::register::BAR_BYTES;

/// A reply that is no refusal.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// What follows the header.
    pub body: Vec<u8>,
    /// A file that goes with it.
    pub file: Option<Arc<OwnedFd>>,
}

impl Reply {
    pub(super) const fn body(body: Vec<u8>) -> Self {
        Self { body, file: None }
    }
}

/// A body that cannot be read.
fn unreadable(_: BodyError) -> Errno {
    Errno::INVAL
}

/// Bytes of a region.
const fn region_bytes(region: u32) -> u32 {
    const MSIX_REGION: u32 = MSIX_BAR as u32;
    match region {
        0 => BAR_BYTES,
        MSIX_REGION => MSIX_BAR_BYTES,
        CONFIG_REGION => 256,
        _ => 0,
    }
}

const _: () = assert!(region_bytes(CONFIG_REGION) as usize == CONFIG_BYTES);

impl Server {
    /// Carries a message out.
    pub(super) fn answer(
        &mut self,
        message: Message,
        function: &mut dyn Function,
    ) -> Result<Reply, Errno> {
        let body = &message.body;
        match Command::of(message.header.command) {
            Some(Command::DmaMap) => {
                let map = DmaMap::decode(body).map_err(unreadable)?;
                // Memory without a file would cost a message an access; it is not served.
                let [file] = &message.descriptors[..] else { return Err(Errno::INVAL) };
                self.memory.map(&map, file.as_fd())?;
                Ok(Reply::default())
            }
            Some(Command::DmaUnmap) => {
                let unmap = DmaUnmap::decode(body).map_err(unreadable)?;
                self.memory.unmap(&unmap)?;
                Ok(Reply::body(unmap.encode().into()))
            }
            Some(Command::DeviceInfo) => {
                DeviceInfo::decode(body).map_err(unreadable)?;
                let flags = device::RESET | device::PCI;
                let info = DeviceInfo { flags, regions: REGIONS, interrupts: interrupt::INDICES };
                Ok(Reply::body(info.encode().into()))
            }
            Some(Command::RegionInfo) => self.region_info(body),
            Some(Command::InterruptInfo) => self.interrupt_info(body),
            Some(Command::SetInterrupts) => self.set_interrupts(message),
            Some(Command::RegionRead) => self.region_read(body),
            Some(Command::RegionWrite) => self.region_write(body),
            Some(Command::DeviceReset) => {
                function.reset();
                Ok(Reply::default())
            }
            Some(Command::Version) => Err(Errno::INVAL),
            Some(Command::DmaRead | Command::DmaWrite) | None => Err(Errno::OPNOTSUPP),
        }
    }

    fn region_info(&self, body: &[u8]) -> Result<Reply, Errno> {
        let (room, index) = RegionInfo::decode_request(body).map_err(unreadable)?;
        if index >= REGIONS || (room as usize) < RegionInfo::BYTES {
            return Err(Errno::INVAL);
        }
        let bytes = region_bytes(index).into();
        let mut info = RegionInfo { index, bytes, ..RegionInfo::default() };
        if bytes > 0 {
            info.flags = flag::READ | flag::WRITE;
        }
        let mut file = None;
        if index == 0 {
            info.flags |= flag::MMAP;
            // Some clients map only what is listed.
            info.areas = vec![Area { offset: 0, bytes }];
            file = Some(self.memory.bar_file());
        }
        Ok(Reply { body: info.encode(room), file })
    }

    fn interrupt_info(&self, body: &[u8]) -> Result<Reply, Errno> {
        let index = InterruptInfo::decode(body).map_err(unreadable)?.index;
        if index >= interrupt::INDICES {
            return Err(Errno::INVAL);
        }
        let msix = index == MSIX;
        let flags = if msix { interrupt::flag::EVENTFD | interrupt::flag::NO_RESIZE } else { 0 };
        let count = if msix { u32::from(self.vectors()) } else { 0 };
        Ok(Reply::body(InterruptInfo { flags, index, count }.encode().into()))
    }

    fn set_interrupts(&self, message: Message) -> Result<Reply, Errno> {
        let request = SetInterrupts::decode(&message.body).map_err(unreadable)?;
        let vectors = if request.index == MSIX { u32::from(self.vectors()) } else { 0 };
        let end = request.start.checked_add(request.count).ok_or(Errno::INVAL)?;
        if request.index >= interrupt::INDICES || end > vectors {
            return Err(Errno::INVAL);
        }
        const NONE: u32 = set::NONE | set::TRIGGER;
        const BOOL: u32 = set::BOOL | set::TRIGGER;
        const BELLS: u32 = set::EVENTFD | set::TRIGGER;
        let data = &message.body[SetInterrupts::BYTES..];
        match request.flags {
            NONE if request.count == 0 => self.memory.silence(),
            NONE => (request.start..end).for_each(|vector| self.trigger(vector)),
            BOOL if data.len() >= request.count as usize => {
                let wanted = (request.start..end).zip(data).filter(|(_, value)| **value != 0);
                wanted.for_each(|(vector, _)| self.trigger(vector));
            }
            BELLS if message.descriptors.len() == request.count as usize => {
                self.memory.wire(request.start as usize, message.descriptors)?;
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(Reply::default())
    }

    fn trigger(&self, vector: u32) {
        self.memory.raise(u16::try_from(vector).expect("below the number of vectors"));
    }

    /// The access, its place in the region and the data, all inside the region.
    fn access(body: &[u8]) -> Result<(RegionAccess, usize, &[u8]), Errno> {
        let (access, data) = RegionAccess::decode(body).map_err(unreadable)?;
        let end = access.offset.checked_add(access.count.into()).ok_or(Errno::INVAL)?;
        if end > region_bytes(access.region).into() {
            return Err(Errno::INVAL);
        }
        let offset = usize::try_from(access.offset).map_err(|_| Errno::INVAL)?;
        Ok((access, offset, data))
    }

    fn region_read(&self, body: &[u8]) -> Result<Reply, Errno> {
        let (access, offset, _) = Self::access(body)?;
        let mut reply = Vec::from(access.encode());
        reply.resize(RegionAccess::BYTES + access.count as usize, 0);
        let out = &mut reply[RegionAccess::BYTES..];
        match access.region {
            0 => self.memory.bar().read(offset, out),
            CONFIG_REGION => self.config.read(offset, out),
            _ => out.copy_from_slice(&self.msix[offset..offset + out.len()]),
        }
        Ok(Reply::body(reply))
    }

    fn region_write(&mut self, body: &[u8]) -> Result<Reply, Errno> {
        let (access, offset, data) = Self::access(body)?;
        if data.len() != access.count as usize {
            return Err(Errno::INVAL);
        }
        match access.region {
            0 => self.memory.bar().write(offset, data),
            CONFIG_REGION => self.config.write(offset, data),
            _ => self.msix[offset..offset + data.len()].copy_from_slice(data),
        }
        Ok(Reply::body(access.encode().into()))
    }
}

//! DEVICE_GET_REGION_INFO: what a region is and which parts of it may be mapped.

use super::{BodyError, halves, head, word32, word64, words};

/// Flags of a region.
pub mod flag {
    /// May be read.
    pub const READ: u32 = 1;
    /// May be written.
    pub const WRITE: u32 = 2;
    /// May be mapped; its file comes with the reply.
    pub const MMAP: u32 = 4;
    /// Capabilities follow.
    pub const CAPABILITIES: u32 = 8;
}

/// Id of the capability that lists what may be mapped.
const SPARSE: u16 = 1;
/// Bytes before the areas of that capability: its header, the count, padding.
const SPARSE_HEAD: usize = 16;
/// Bytes of an area.
const AREA_BYTES: usize = 16;
/// Most areas of a region taken.
const AREAS_MAX: usize = 64;

/// A part of a region that may be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Where in the region.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a region is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionInfo {
    /// Which region.
    pub index: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bytes; 0 for a region the device does not have.
    pub bytes: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// What may be mapped, if not all of it.
    pub areas: Vec<Area>,
}

impl RegionInfo {
    /// Bytes of the body without capabilities.
    pub const BYTES: usize = 32;

    /// The request for a region, with room for a reply of `room` bytes.
    #[must_use]
    pub fn request(index: u32, room: u32) -> [u8; Self::BYTES] {
        words([room, 0, index, 0, 0, 0, 0, 0])
    }

    /// Room and index of a request.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode_request(bytes: &[u8]) -> Result<(u32, u32), BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        Ok((word32(body, 0), word32(body, 8)))
    }

    /// Bytes of the whole body.
    #[must_use]
    pub const fn length(&self) -> usize {
        match self.areas.len() {
            0 => Self::BYTES,
            count => Self::BYTES + SPARSE_HEAD + count * AREA_BYTES,
        }
    }

    /// The body of a reply; without capabilities where the asker has no room for them.
    ///
    /// # Panics
    /// When it has more areas than a message holds.
    #[must_use]
    pub fn encode(&self, room: u32) -> Vec<u8> {
        let length = self.length();
        let fits = length > Self::BYTES && room as usize >= length;
        let flags = if length > Self::BYTES { flag::CAPABILITIES } else { 0 };
        let [bytes, offset] = [self.bytes, self.offset].map(halves);
        let at = if fits { 32 } else { 0 };
        let total = u32::try_from(length).expect("few areas");
        let fixed: [u8; Self::BYTES] = words([
            total,
            self.flags | flags,
            self.index,
            at,
            bytes[0],
            bytes[1],
            offset[0],
            offset[1],
        ]);
        let mut body = Vec::from(fixed);
        if fits {
            let count = u32::try_from(self.areas.len()).expect("few areas");
            let id_and_version = 1 << 16 | u32::from(SPARSE);
            let capability: [u8; SPARSE_HEAD] = words([id_and_version, 0, count, 0]);
            body.extend(capability);
            for area in &self.areas {
                body.extend(area.offset.to_le_bytes());
                body.extend(area.bytes.to_le_bytes());
            }
        }
        body
    }

    /// Reads a reply; the first number is the length of the whole body, which may be more than
    /// there was room for.
    ///
    /// # Errors
    /// It is too short, or its capabilities lead nowhere.
    pub fn decode(bytes: &[u8]) -> Result<(u32, Self), BodyError> {
        let body = head::<{ Self::BYTES }>(bytes)?;
        let (flags, at) = (word32(body, 4), word32(body, 12));
        let mut info = Self {
            index: word32(body, 8),
            flags,
            bytes: word64(body, 16),
            offset: word64(body, 24),
            areas: Vec::new(),
        };
        if flags & flag::CAPABILITIES != 0 && at != 0 {
            info.areas = areas(bytes, at as usize)?;
        }
        Ok((word32(body, 0), info))
    }
}

/// Follows the list of capabilities, which only goes forward, to the areas.
fn areas(bytes: &[u8], first: usize) -> Result<Vec<Area>, BodyError> {
    let (mut at, mut past) = (first, RegionInfo::BYTES);
    // Ends: every step goes forward and stays inside.
    loop {
        let wrong = BodyError::Value { what: "capability offset", value: at as u64 };
        let capability = bytes.get(at..).filter(|rest| at >= past && rest.len() >= 8);
        let capability = capability.ok_or(wrong)?;
        if word32(capability, 0) & 0xffff == u32::from(SPARSE) {
            return sparse_areas(capability);
        }
        match word32(capability, 4) as usize {
            0 => return Ok(Vec::new()),
            next => (past, at) = (at + 8, next),
        }
    }
}

fn sparse_areas(capability: &[u8]) -> Result<Vec<Area>, BodyError> {
    let body = head::<SPARSE_HEAD>(capability)?;
    let count = word32(body, 8) as usize;
    let rest = &capability[SPARSE_HEAD..];
    if count > AREAS_MAX || rest.len() / AREA_BYTES < count {
        return Err(BodyError::Value { what: "areas", value: count as u64 });
    }
    let areas = rest.as_chunks::<AREA_BYTES>().0.iter().take(count);
    Ok(areas.map(|area| Area { offset: word64(area, 0), bytes: word64(area, 8) }).collect())
}

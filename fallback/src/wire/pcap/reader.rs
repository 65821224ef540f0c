//! Reads captures: classic pcap (four magic numbers) and pcapng, told apart by their first bytes.
//!
//! Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

use std::fs::File;
use std::path::Path;

use twinpath_flow::time::Time;

use super::super::error::{CaptureFault, WireError};
use super::block::{self, Blocks};
use super::source::Source;

/// Longest frame believed; tcpdump's snap length is 262,144.
pub(super) const FRAME_MAX: u32 = 1 << 20;

/// Link type of Ethernet.
pub(super) const LINK_ETHERNET: u32 = 1;

/// Magic number of classic captures with microseconds.
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
/// Magic number of classic captures with nanoseconds.
pub(super) const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Length of a classic file header.
const FILE_HEADER_LEN: usize = 24;
/// Length of a classic record header.
const RECORD_HEADER_LEN: usize = 16;
/// Bit of the link-type word that says that frames end with an FCS.
const FCS_PRESENT: u32 = 1 << 26;

/// Byte order of numbers in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let word = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(word),
            Self::Big => u16::from_be_bytes(word),
        }
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        }
    }
}

/// One record found: how many bytes the reader passed after its frame, and the frame's length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Length of the frame.
    pub(super) frame_len: usize,
    /// Bytes passed behind the frame (FCS, padding, options).
    pub(super) behind: usize,
}

enum Format {
    Classic { order: Order, unit_ns: u64, fcs_len: usize },
    Blocks(Blocks),
}

/// A capture, read frame by frame.
pub(super) struct Reader {
    source: Source,
    format: Format,
    found: Found,
}

impl Reader {
    /// Reads the file header.
    pub(super) fn new(path: &Path, file: File) -> Result<Self, WireError> {
        let mut source = Source::new(path, file);
        let what = "file header";
        let truncated = CaptureFault::Truncated { what, need: FILE_HEADER_LEN, have: 0 };
        let Some(start) = source.peek(4, what)? else { return Err(source.fault(truncated)) };
        let magic = Order::Little.u32(start, 0);
        let (order, unit_ns) = match (magic, magic.swap_bytes()) {
            (block::SECTION_HEADER, _) => {
                let format = Format::Blocks(Blocks::default());
                return Ok(Self { source, format, found: Found::default() });
            }
            (MAGIC_MICROSECONDS, _) => (Order::Little, 1_000),
            (MAGIC_NANOSECONDS, _) => (Order::Little, 1),
            (_, MAGIC_MICROSECONDS) => (Order::Big, 1_000),
            (_, MAGIC_NANOSECONDS) => (Order::Big, 1),
            (_, other) => return Err(source.fault(CaptureFault::Magic(other))),
        };
        let Some(header) = source.peek(FILE_HEADER_LEN, what)? else {
            return Err(source.fault(truncated));
        };
        let (major, minor) = (order.u16(header, 4), order.u16(header, 6));
        let link = order.u32(header, 20);
        if major != 2 {
            return Err(source.fault(CaptureFault::Version(major, minor)));
        }
        if link & 0xffff != LINK_ETHERNET {
            return Err(source.fault(CaptureFault::LinkType(link & 0xffff)));
        }
        // The top four bits count 16-bit words of FCS.
        let fcs_len = if link & FCS_PRESENT == 0 { 0 } else { 2 * (link >> 28) as usize };
        source.pass(FILE_HEADER_LEN);
        let format = Format::Classic { order, unit_ns, fcs_len };
        Ok(Self { source, format, found: Found::default() })
    }

    /// Goes to the next frame and returns its time as written; `None` at the end of the file.
    pub(super) fn advance(&mut self) -> Result<Option<Time>, WireError> {
        let record = match &mut self.format {
            Format::Classic { order, unit_ns, fcs_len } => {
                advance_classic(&mut self.source, *order, *unit_ns, *fcs_len)?
            }
            Format::Blocks(blocks) => blocks.advance(&mut self.source)?,
        };
        let Some((time, found)) = record else { return Ok(None) };
        self.found = found;
        Ok(Some(time))
    }

    /// The frame the reader stands on.
    pub(super) fn frame(&self) -> &[u8] {
        let Found { frame_len, behind } = self.found;
        &self.source.passed(frame_len + behind)[..frame_len]
    }
}

fn advance_classic(
    source: &mut Source,
    order: Order,
    unit_ns: u64,
    fcs_len: usize,
) -> Result<Option<(Time, Found)>, WireError> {
    let Some(header) = source.peek(RECORD_HEADER_LEN, "record header")? else { return Ok(None) };
    let (seconds, fraction) = (order.u32(header, 0), order.u32(header, 4));
    let (captured, original) = (order.u32(header, 8), order.u32(header, 12));
    if captured > FRAME_MAX {
        let fault = CaptureFault::Length { what: "record", length: captured };
        return Err(source.fault(fault));
    }
    let record_len = RECORD_HEADER_LEN + captured as usize;
    source.peek(record_len, "record")?;
    source.pass(record_len);
    // An FCS cut off by the snap length is cut off only as far as it reaches.
    let whole = original as usize;
    let frame_len = (captured as usize).min(whole.saturating_sub(fcs_len));
    let time = Time(u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit_ns);
    Ok(Some((time, Found { frame_len, behind: captured as usize - frame_len })))
}

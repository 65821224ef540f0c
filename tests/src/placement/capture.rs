//! A trace from a classic capture: flows are the addresses, protocol and ports of its frames.

use super::trace::Trace;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use twinpath_flow::field::Field;
use twinpath_flow::parse::parse;
use twinpath_flow::port::{MTU_IN_DEFAULT, Port, PortKind, PortNo, PortTable};

/// Length of the file's header.
const FILE_HEADER: usize = 24;
/// Length of a record's header.
const RECORD_HEADER: usize = 16;

/// What makes a flow of a capture.
const FIELDS: [Field; 6] =
    [Field::EthType, Field::IpProto, Field::IpSrc, Field::IpDst, Field::L4Src, Field::L4Dst];

/// Why a capture is not a trace.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its first word is not one of a classic capture.
    #[error("{}: not a classic capture; `tshark -F pcap -r IN -w OUT` makes one", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// No frame in it.
    #[error("{}: no frames", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads numbers in the byte order of the file.
type Word = fn([u8; 4]) -> u32;

/// Byte order and nanoseconds per unit of a file, by its first word.
fn format(magic: [u8; 4]) -> Option<(Word, u64)> {
    match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => Some((u32::from_le_bytes, 1000)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some((u32::from_le_bytes, 1)),
        [0xa1, 0xb2, 0xc3, 0xd4] => Some((u32::from_be_bytes, 1000)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some((u32::from_be_bytes, 1)),
        _ => None,
    }
}

/// The trace in the capture at `path`, named after it.
///
/// # Errors
/// [`CaptureError`].
pub fn read(path: &Path) -> Result<Trace, CaptureError> {
    let path_owned = || path.to_owned();
    let bytes =
        std::fs::read(path).map_err(|source| CaptureError::Read { path: path_owned(), source })?;
    let (word, unit) = bytes
        .first_chunk()
        .filter(|_| bytes.len() >= FILE_HEADER)
        .and_then(|magic| format(*magic))
        .ok_or_else(|| CaptureError::Format { path: path_owned() })?;
    let mut trace = records(&bytes[FILE_HEADER..], word, unit);
    if trace.packets.is_empty() {
        return Err(CaptureError::Empty { path: path_owned() });
    }
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    trace.name = format!("pcap:{stem}");
    Ok(trace)
}

fn records(mut rest: &[u8], word: Word, unit: u64) -> Trace {
    let port = Port {
        number: PortNo(1),
        name: "p1".into(),
        mtu_out: None,
        mtu_in: MTU_IN_DEFAULT,
        kind: PortKind::Physical,
    };
    let ports = PortTable::new(vec![port]).expect("one port");
    let mut flows: HashMap<[u128; 6], u32> = HashMap::new();
    let (mut packets, mut times) = (Vec::new(), Vec::new());
    let mut first = None;
    while let Some((header, after)) = rest.split_first_chunk::<RECORD_HEADER>() {
        let at = |offset: usize| {
            word(header[offset..offset + 4].try_into().expect("four bytes of sixteen"))
        };
        let Some((frame, next)) = after.split_at_checked(at(8) as usize) else { break };
        rest = next;
        let time = u64::from(at(0)) * 1_000_000_000 + u64::from(at(4)) * unit;
        let time = time.saturating_sub(*first.get_or_insert(time));
        let key = parse(frame, PortNo(1), &ports).key;
        let fresh = u32::try_from(flows.len()).expect("captures have fewer flows");
        packets.push(*flows.entry(FIELDS.map(|field| key.get(field))).or_insert(fresh));
        times.push(times.last().copied().unwrap_or(0).max(time));
    }
    let flows = u32::try_from(flows.len()).expect("captures have fewer flows");
    Trace { name: String::new(), packets, times, ids: flows, flows, elephants: 0 }
}

//! Writes captures with nanoseconds: classic pcap, or pcapng with one interface.

use std::fs::File;
use std::io::{self, Write};

use twinpath_flow::time::Time;

use super::block::{
    BYTE_ORDER, ENHANCED_PACKET, INTERFACE_DESCRIPTION, OPTION_RESOLUTION, SECTION_HEADER,
};
use super::reader::{LINK_ETHERNET, MAGIC_NANOSECONDS};

/// Snap length written into headers; no frame we send is longer.
const SNAP_LEN: u32 = 262_144;
/// Bytes gathered before the file is written.
const BUFFER_LEN: usize = 256 * 1024;
/// Fixed part of an enhanced packet block, both lengths included.
const ENHANCED_LEN: usize = 32;

#[derive(Clone, Copy)]
enum Format {
    Classic,
    NextGeneration,
}

/// A capture being written; numbers are little-endian.
pub(super) struct Writer {
    file: File,
    buffer: Vec<u8>,
    format: Format,
}

impl Writer {
    /// Classic pcap with nanoseconds.
    pub(super) fn classic(file: File) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_LEN + SNAP_LEN as usize);
        buffer.extend_from_slice(&MAGIC_NANOSECONDS.to_le_bytes());
        buffer.extend_from_slice(&[2, 0, 4, 0]);
        buffer.extend_from_slice(&[0; 8]);
        buffer.extend_from_slice(&SNAP_LEN.to_le_bytes());
        buffer.extend_from_slice(&LINK_ETHERNET.to_le_bytes());
        Self { file, buffer, format: Format::Classic }
    }

    /// pcapng with one Ethernet interface counting nanoseconds.
    pub(super) fn next_generation(file: File) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_LEN + SNAP_LEN as usize);
        for word in [SECTION_HEADER, 28, BYTE_ORDER, 1, u32::MAX, u32::MAX, 28] {
            buffer.extend_from_slice(&word.to_le_bytes());
        }
        // if_tsresol = 9 (one byte and three of padding), then the end of the options.
        let resolution = u32::from(OPTION_RESOLUTION) | 1 << 16;
        for word in [INTERFACE_DESCRIPTION, 32, LINK_ETHERNET, SNAP_LEN, resolution, 9, 0, 32] {
            buffer.extend_from_slice(&word.to_le_bytes());
        }
        Self { file, buffer, format: Format::NextGeneration }
    }

    /// Appends one frame; frames longer than the snap length are cut there, as the formats foresee.
    pub(super) fn write(&mut self, frame: &[u8], time: Time) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_LEN {
            self.flush()?;
        }
        let original = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let kept = &frame[..frame.len().min(SNAP_LEN as usize)];
        let captured = original.min(SNAP_LEN);
        match self.format {
            Format::Classic => {
                let (seconds, fraction) = (time.0 / 1_000_000_000, time.0 % 1_000_000_000);
                // Seconds have 32 bits in this format: they stop in 2106.
                let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
                let fraction = u32::try_from(fraction).expect("below a thousand million");
                for word in [seconds, fraction, captured, original] {
                    self.buffer.extend_from_slice(&word.to_le_bytes());
                }
                self.buffer.extend_from_slice(kept);
            }
            Format::NextGeneration => {
                let padded = kept.len().next_multiple_of(4);
                let block_len =
                    u32::try_from(ENHANCED_LEN + padded).expect("bounded by snap length");
                let low = time.0.to_le_bytes();
                let (low, high) = low.split_at(4);
                self.buffer.extend_from_slice(&ENHANCED_PACKET.to_le_bytes());
                self.buffer.extend_from_slice(&block_len.to_le_bytes());
                self.buffer.extend_from_slice(&[0; 4]);
                self.buffer.extend_from_slice(high);
                self.buffer.extend_from_slice(low);
                self.buffer.extend_from_slice(&captured.to_le_bytes());
                self.buffer.extend_from_slice(&original.to_le_bytes());
                self.buffer.extend_from_slice(kept);
                self.buffer.extend_from_slice(&[0; 3][..padded - kept.len()]);
                self.buffer.extend_from_slice(&block_len.to_le_bytes());
            }
        }
        Ok(())
    }

    /// Hands everything gathered to the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.buffer);
        self.buffer.clear();
        result
    }
}

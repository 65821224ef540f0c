//! Classic captures that another process appends to.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Length of a capture's file header.
const FILE_HEADER: u64 = 24;
/// Length of a record's header.
const RECORD_HEADER: usize = 16;

/// Reads what is new in a little-endian classic capture.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    offset: u64,
}

impl Follower {
    /// A reader of the capture at `path`, from its first record.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, offset: FILE_HEADER }
    }

    /// The frames appended since the last call; whole records only.
    ///
    /// # Panics
    /// If the file cannot be read.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        let path = self.path.display();
        let mut file = File::open(&self.path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.offset)).expect("seeking in a file succeeds");
        file.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut frames = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<RECORD_HEADER>() {
            let length = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
            let Some((frame, next)) = after.split_at_checked(length as usize) else { break };
            frames.push(frame.to_vec());
            rest = next;
        }
        self.offset += (bytes.len() - rest.len()) as u64;
        frames
    }
}

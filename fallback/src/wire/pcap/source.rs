//! A file read front to back through one buffer, knowing at which byte it stands.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::super::error::{CaptureFault, WireError};

/// First size of the buffer; it grows to the longest record.
const BUFFER_LEN: usize = 256 * 1024;

/// Buffered file with its position.
pub(super) struct Source {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// Valid bytes of the buffer: `start..end`.
    start: usize,
    end: usize,
    /// Position in the file of `buffer[start]`.
    offset: u64,
}

impl Source {
    pub(super) fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file,
            buffer: vec![0; BUFFER_LEN],
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// The next `need` bytes without passing them; `None` when the file ends exactly here. `need` is
    /// what the caller has bounded: the buffer grows to it.
    pub(super) fn peek(
        &mut self,
        need: usize,
        what: &'static str,
    ) -> Result<Option<&[u8]>, WireError> {
        if self.end - self.start < need {
            self.fill(need)?;
        }
        let have = self.end - self.start;
        if have >= need {
            return Ok(Some(&self.buffer[self.start..self.start + need]));
        }
        if have == 0 {
            Ok(None)
        } else {
            Err(self.fault(CaptureFault::Truncated { what, need, have }))
        }
    }

    fn fill(&mut self, need: usize) -> Result<(), WireError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < need {
            self.buffer.resize(need, 0);
        }
        // Ends: every turn reads at least one byte, or breaks at the end of the file.
        while self.end < need {
            match self.file.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    let (path, offset) = (self.path.clone(), self.offset);
                    return Err(WireError::ReadCapture { path, offset, source });
                }
            }
        }
        Ok(())
    }

    /// Passes `count` bytes that were peeked.
    pub(super) fn pass(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "only what was peeked can be passed");
        self.start += count;
        self.offset += count as u64;
    }

    /// The last `count` bytes that were passed; they stay until the next `peek`.
    pub(super) fn passed(&self, count: usize) -> &[u8] {
        &self.buffer[self.start - count..self.start]
    }

    /// `fault` at the present position.
    pub(super) fn fault(&self, fault: CaptureFault) -> WireError {
        WireError::CorruptCapture { path: self.path.clone(), offset: self.offset, fault }
    }
}

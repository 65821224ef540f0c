//! The virtio header before each frame of a packet socket: what the sender's stack left undone.
//!
//! Virtio 1.2 §5.1.6; Linux `include/uapi/linux/virtio_net.h`. Numbers are in the machine's byte
//! order, as packet sockets have them.

use super::super::checksum;

/// Length of the header.
pub(super) const HEADER_LEN: usize = 10;
/// The checksum from `checksum_start` on is still to be done.
const NEEDS_CHECKSUM: u8 = 1;
/// Bit beside the segmentation type: the first segment carries CWR.
const ECN: u8 = 0x80;

/// How a frame is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segmentation {
    None,
    Tcp,
    Udp,
    Unknown,
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VirtioHeader {
    pub(super) segmentation: Segmentation,
    /// Payload bytes of each segment.
    pub(super) segment_len: usize,
    /// Where the checksum begins and where in it its field is, if it is still to be done.
    pub(super) checksum: Option<(usize, usize)>,
}

impl VirtioHeader {
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let half = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        let segmentation = match bytes[1] & !ECN {
            0 => Segmentation::None,
            1 | 4 => Segmentation::Tcp,
            5 => Segmentation::Udp,
            _ => Segmentation::Unknown,
        };
        let checksum = (bytes[0] & NEEDS_CHECKSUM != 0).then(|| (half(6), half(8)));
        Self { segmentation, segment_len: half(4), checksum }
    }

    /// Completes the checksum if it is still to be done; the sender has put the pseudo header's sum
    /// into its field. False when the header points outside the frame.
    pub(super) fn complete(&self, frame: &mut [u8]) -> bool {
        let Some((start, offset)) = self.checksum else { return true };
        let field = start + offset;
        if field + 2 > frame.len() {
            return false;
        }
        // UDP's field is at 6; all ones means the same in the others' arithmetic.
        let sum = checksum::finish_udp(checksum::add(0, &frame[start..]));
        frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        true
    }
}

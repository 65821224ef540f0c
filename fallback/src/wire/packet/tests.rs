//! What the kernel tells beside a frame, applied to it: tags, alone and on every segment.

use super::*;

fn slot(virtio: [u8; HEADER_LEN], frame: &[u8], auxiliary: Auxiliary) -> Slot {
    let mut buffer = vec![0; MESSAGE_MAX].into_boxed_slice();
    buffer[..HEADER_LEN].copy_from_slice(&virtio);
    buffer[HEADER_LEN..HEADER_LEN + frame.len()].copy_from_slice(frame);
    Slot { buffer, length: HEADER_LEN + frame.len(), is_truncated: false, auxiliary }
}

fn delivered(mut slot: Slot) -> (Vec<Vec<u8>>, bool) {
    let mut frames = Vec::new();
    let is_whole = slot.deliver(&mut Vec::new(), |frame| frames.push(frame.to_vec()));
    (frames, is_whole)
}

const VALID: u32 = libc::TP_STATUS_VLAN_VALID;
const TYPED: u32 = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;

#[test]
fn a_tag_goes_back_behind_the_addresses_with_its_type() {
    let frame: Vec<u8> = (0..60).collect();
    for (status, kind, expected) in [
        (TYPED, 0x88a8, Some([0x88, 0xa8, 0xa0, 0x2a])),
        (VALID, 0, Some([0x81, 0x00, 0xa0, 0x2a])),
        (0, 0x8100, None),
    ] {
        let auxiliary = Auxiliary { status, vlan_tci: 0xa02a, vlan_type: kind };
        let mut want = frame.clone();
        want.splice(12..12, expected.into_iter().flatten());
        assert_eq!(delivered(slot([0; HEADER_LEN], &frame, auxiliary)), (vec![want], true));
    }
}

#[test]
fn every_segment_of_a_tagged_frame_carries_the_tag() {
    let mut frame = vec![2; 12];
    frame
        .extend([8, 0, 0x45, 0, 0x05, 0x28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0, 53, 0, 54, 0x05, 0x14, 0, 0]);
    frame.extend([7; 1292]);
    let mut virtio = [0; HEADER_LEN];
    virtio[..2].copy_from_slice(&[1, 5]);
    for (at, value) in [(4, 500u16), (6, 34), (8, 6)] {
        virtio[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }
    let auxiliary = Auxiliary { status: TYPED, vlan_tci: 7, vlan_type: 0x8100 };
    let (frames, is_whole) = delivered(slot(virtio, &frame, auxiliary));
    let lengths: Vec<usize> = frames.iter().map(Vec::len).collect();
    assert_eq!((lengths, is_whole), (vec![546, 546, 338], true));
    assert!(frames.iter().all(|frame| frame[12..18] == [0x81, 0, 0, 7, 8, 0]));
}

#[test]
fn what_is_not_whole_is_not_delivered() {
    let frame = [2; 60];
    let mut cut = slot([0; HEADER_LEN], &frame, Auxiliary::default());
    cut.is_truncated = true;
    assert_eq!(delivered(cut), (vec![], false));
    assert_eq!(
        delivered(slot([0; HEADER_LEN], &frame[..13], Auxiliary::default())),
        (vec![], false)
    );
    // A checksum field outside the frame, and a way of cutting nobody defined.
    for start in [[1, 0, 0, 0, 0, 0, 255, 255, 0, 0], [0, 3, 0, 0, 1, 1, 0, 0, 0, 0]] {
        assert_eq!(delivered(slot(start, &frame, Auxiliary::default())), (vec![], false));
    }
}

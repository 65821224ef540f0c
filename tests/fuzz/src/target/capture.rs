//! Bytes as a capture, classic or pcapng. Reading ends; time never goes back; what is written back
//! as a classic capture has the same frames.

use rustix::fs::{MemfdFlags, memfd_create};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use twinpath_fallback::wire::{Wire, WireSpec};
use twinpath_flow::time::Time;

/// Frames taken in one call.
const BURST: usize = 7;

/// Bytes: the file.
pub(super) fn run(data: &[u8]) {
    let (input, output) = (file(data), file(&[]));
    let spec = format!("pcap:in={},out={}", path(&input), path(&output));
    let spec: WireSpec = spec.parse().expect("a wire");
    let Ok(opened) = spec.open(Path::new("/")) else { return };
    let mut wire = opened.wire;
    let read = read(&mut *wire, data.len());
    for (frame, _) in &read {
        wire.send(frame, Time(1));
    }
    wire.finish().expect("memory takes it");
    let spec: WireSpec = format!("pcap:in={}", path(&output)).parse().expect("a wire");
    let mut wire = spec.open(Path::new("/")).expect("our own capture opens").wire;
    let again = self::read(&mut *wire, usize::MAX);
    assert!(read.iter().map(|(frame, _)| frame).eq(again.iter().map(|(frame, _)| frame)));
}

/// All frames; a record is at least 12 bytes of file.
fn read(wire: &mut dyn Wire, bytes: usize) -> Vec<(Vec<u8>, Time)> {
    let mut frames: Vec<(Vec<u8>, Time)> = Vec::new();
    while !wire.is_finished() {
        let Some(next) = wire.next_arrival() else { break };
        let before = frames.len();
        let took =
            wire.receive(next, BURST, &mut |frame, time| frames.push((frame.to_vec(), time)));
        let Ok(took) = took else { break };
        assert_eq!(took, frames.len() - before);
        assert!((1..=BURST).contains(&took), "a frame that is due is received");
        assert!(frames.len() <= bytes / 12 + 1, "more frames than the file can hold");
    }
    assert!(frames.is_sorted_by_key(|(_, time)| *time), "time goes back");
    frames
}

fn file(bytes: &[u8]) -> OwnedFd {
    let file = memfd_create("capture", MemfdFlags::CLOEXEC).expect("memory");
    rustix::io::pwrite(&file, bytes, 0).expect("memory takes it");
    file
}

fn path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

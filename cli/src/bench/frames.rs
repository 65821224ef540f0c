//! Frames to forward: made up, or those of a capture.

use anyhow::{Context as _, bail};
use std::path::Path;
use twinpath_fallback::wire::WireSpec;
use twinpath_flow::time::Time;

/// Frames a capture may have.
const FRAMES_MAX: usize = 4_000_000;

/// What made-up frames look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    /// All so long, without FCS.
    Bytes(usize),
    /// 7 of 64, 4 of 570 and 1 of 1,518 bytes, with FCS (the simple Internet mix).
    Imix,
}

impl Size {
    fn of(self, number: u32) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Imix => match number % 12 {
                11 => 1514,
                7..11 => 566,
                _ => 60,
            },
        }
    }
}

/// One UDP/IPv4 frame for each of so many flows, in an order that jumps about.
pub(super) fn made_up(flows: u32, size: Size) -> Vec<Vec<u8>> {
    let stride = coprime(flows);
    let order = (0..u64::from(flows)).map(|at| at * stride % u64::from(flows).max(1));
    order.map(|flow| frame(u32::try_from(flow).expect("below a u32"), size)).collect()
}

/// A step that visits all of `flows` numbers, far from its neighbours.
fn coprime(flows: u32) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let flows = u64::from(flows).max(1);
    let mut step = flows * 5 / 8 + 1;
    while gcd(step, flows) != 1 {
        step += 1;
    }
    step
}

fn frame(flow: u32, size: Size) -> Vec<u8> {
    let length = size.of(flow);
    let short = |value: usize| u16::try_from(value).expect("a frame's length");
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend(short(length - 14).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    let spread = flow.wrapping_mul(2_654_435_761);
    frame.extend((0x0a00_0000 | flow & 0x00ff_ffff).to_be_bytes());
    frame.extend((0xc0a8_0000 | spread & 0xffff).to_be_bytes());
    let sum: u32 =
        frame[14..34].as_chunks::<2>().0.iter().map(|w| u32::from(u16::from_be_bytes(*w))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!short(folded as usize & 0xffff)).to_be_bytes());
    frame.extend((1024 + short(flow as usize >> 24)).to_be_bytes());
    frame.extend((80 + short(flow as usize % 7)).to_be_bytes());
    frame.extend(short(length - 34).to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(length, 0);
    frame
}

/// All frames of a capture.
///
/// # Errors
/// It cannot be read, has no frames or too many.
pub(super) fn captured(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let name = path.display();
    let spec: WireSpec = format!("pcap:in={name}").parse().with_context(|| format!("{name}"))?;
    let mut wire = spec.open(Path::new(""))?.wire;
    let mut frames = Vec::new();
    // Ends: a capture is finite.
    while !wire.is_finished() {
        wire.receive(Time(u64::MAX), 1024, &mut |frame, _| frames.push(frame.to_vec()))?;
        if frames.len() > FRAMES_MAX {
            bail!("{name}: more than {FRAMES_MAX} frames");
        }
    }
    if frames.is_empty() {
        bail!("{name}: no frames");
    }
    Ok(frames)
}

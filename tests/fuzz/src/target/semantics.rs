//! Frames in one of a few random worlds: specification, software path (each kernel in turn) and
//! simulated card with its driver do the same with each, and count the same.

use crate::script::Script;
use twinpath_flow::port::PortNo;
use twinpath_tests::readings::World;

/// Worlds to choose from.
const WORLDS: u8 = 64;
/// Frames in one input at most.
const FRAMES_MAX: usize = 16;
/// Longest frame: buffers are for 9,216 bytes and what is put in front.
const LENGTH_MAX: usize = 2_000;

/// Bytes: world, then port and frame, again and again.
pub(super) fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let seed = u64::from(script.byte() % WORLDS);
    let mut world = World::new(seed);
    let ports: Vec<PortNo> = world.pipeline.ports.physical().map(|port| port.number).collect();
    for _ in 0..FRAMES_MAX {
        if script.is_over() {
            break;
        }
        let port = ports[usize::from(script.byte()) % ports.len()];
        let frame = script.piece();
        let frame = &frame[..frame.len().min(LENGTH_MAX)];
        // The second meets what the first has left in the card.
        world.check(seed, port, frame);
        world.check(seed, port, frame);
    }
    let expected = world.expected.clone();
    assert_eq!(world.total(), expected, "rules count otherwise");
}

//! Belady's rule with bypass: of the present flows and the newcomer, the one whose next packet is
//! farthest stays outside. Free, instant updates: an upper bound, not a bar.

use super::Score;
use super::trace::{SILENCE, Trace};
use std::collections::BinaryHeap;

/// Never used again.
const NEVER: u32 = u32::MAX;

/// Runs it over a trace.
#[must_use]
pub fn run(trace: &Trace, room: usize) -> Score {
    let next = next_uses(trace);
    // When the flow's next packet comes; 0 for flows that are not present.
    let mut present: Vec<u32> = vec![0; trace.ids as usize];
    let mut heap: BinaryHeap<(u32, u32)> = BinaryHeap::new();
    let mut score = Score::default();
    let mut used = 0;
    for (packet, flow) in trace.packets.iter().copied().enumerate() {
        if flow == SILENCE {
            continue;
        }
        let hit = present[flow as usize] != 0;
        score.count(trace, packet, hit);
        let due = next[packet];
        if !hit {
            if used < room {
                used += 1;
            } else {
                // Ends: each turn drops an element that was superseded.
                while heap.peek().is_some_and(|(at, held)| present[*held as usize] != *at) {
                    heap.pop();
                }
                match heap.peek().copied() {
                    Some((at, victim)) if at > due => {
                        heap.pop();
                        present[victim as usize] = 0;
                        score.updates += 1;
                    }
                    _ => continue,
                }
            }
            score.updates += 1;
        }
        present[flow as usize] = due;
        heap.push((due, flow));
    }
    score
}

/// For each packet the position of its flow's next one.
fn next_uses(trace: &Trace) -> Vec<u32> {
    let mut last = vec![NEVER; trace.ids as usize];
    let mut next = vec![NEVER; trace.packets.len()];
    for (packet, flow) in trace.packets.iter().copied().enumerate().rev() {
        if flow != SILENCE {
            next[packet] = last[flow as usize];
            last[flow as usize] = u32::try_from(packet).expect("traces are shorter");
        }
    }
    next
}

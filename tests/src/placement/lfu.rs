//! Least frequently used since it came leaves (in-cache LFU): every miss comes in. It knows of every
//! packet, which no card tells.

use super::Policy;
use super::slots::{Place, Slots};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Counts of the present flows; the heap is put right when it is looked at.
#[derive(Debug)]
pub struct Lfu {
    counts: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u64, u32)>>,
    arrivals: u64,
}

impl Lfu {
    /// Empty.
    #[must_use]
    pub fn new(ids: u32) -> Self {
        Self { counts: vec![0; ids as usize], heap: BinaryHeap::new(), arrivals: 0 }
    }

    fn come(&mut self, flow: u32) {
        self.counts[flow as usize] = 1;
        self.arrivals += 1;
        self.heap.push(Reverse((1, self.arrivals, flow)));
    }

    /// The flow used least, the one that came first among equals.
    fn least(&mut self) -> Option<u32> {
        // Ends: each turn puts one flow's count right.
        while let Some(Reverse((seen, arrival, flow))) = self.heap.peek().copied() {
            let count = self.counts[flow as usize];
            if seen == count {
                return Some(flow);
            }
            self.heap.pop();
            self.heap.push(Reverse((count, arrival, flow)));
        }
        None
    }
}

impl Policy for Lfu {
    fn epoch(&mut self, _: usize, _: &mut Slots) {}

    fn packet(&mut self, flow: u32, _: bool, slots: &mut Slots) {
        if slots.place(flow) != Place::Out {
            self.counts[flow as usize] += 1;
        } else if slots.has_room() {
            if slots.add(flow) {
                self.come(flow);
            }
        } else if let Some(victim) = self.least()
            && slots.swap(victim, flow)
        {
            self.heap.pop();
            self.come(flow);
        }
    }
}

//! Knows each flow's packets in every coming epoch, and holds the best set per epoch as far as the
//! budget goes: the most packets gained first.

use super::slots::{Place, Slots};
use super::trace::{SILENCE, Trace};
use super::{EPOCH, Policy};
use std::cmp::Reverse;

/// Holds the best set.
#[derive(Debug)]
pub struct Clairvoyant<'a> {
    trace: &'a Trace,
    /// First packet that was not looked at yet.
    next: usize,
    counts: Vec<u32>,
    present: Vec<u32>,
}

impl<'a> Clairvoyant<'a> {
    /// Knows the whole trace.
    #[must_use]
    pub fn new(trace: &'a Trace) -> Self {
        let counts = vec![0; trace.ids as usize];
        Self { trace, next: 0, counts, present: Vec::new() }
    }

    /// Counts the packets of the epoch; the flows that have some.
    fn look_ahead(&mut self, slots: &Slots) -> Vec<u32> {
        self.counts.fill(0);
        let end = slots.now.0 / nanos() * nanos() + nanos();
        let mut flows = Vec::new();
        while self.next < self.trace.packets.len() && self.trace.time(self.next).0 < end {
            let flow = self.trace.packets[self.next];
            self.next += 1;
            if flow == SILENCE {
                continue;
            }
            if self.counts[flow as usize] == 0 {
                flows.push(flow);
            }
            self.counts[flow as usize] += 1;
        }
        flows
    }
}

fn nanos() -> u64 {
    u64::try_from(EPOCH.as_nanos()).expect("a short time")
}

impl Policy for Clairvoyant<'_> {
    fn epoch(&mut self, _: usize, slots: &mut Slots) {
        let mut outside = self.look_ahead(slots);
        outside.retain(|flow| slots.place(*flow) == Place::Out);
        let counts = &self.counts;
        outside.sort_unstable_by_key(|flow| (Reverse(counts[*flow as usize]), *flow));
        let mut cold = self.present.clone();
        cold.sort_unstable_by_key(|flow| (counts[*flow as usize], *flow));
        let mut cold = cold.into_iter().peekable();
        for flow in outside {
            if slots.has_room() {
                if !slots.add(flow) {
                    return;
                }
                self.present.push(flow);
                continue;
            }
            let Some(victim) = cold.next_if(|v| counts[*v as usize] < counts[flow as usize]) else {
                return;
            };
            if !slots.swap(victim, flow) {
                return;
            }
            let position = self.present.iter().position(|other| *other == victim);
            self.present[position.expect("it was present")] = flow;
        }
    }

    fn packet(&mut self, _: u32, _: bool, _: &mut Slots) {}
}

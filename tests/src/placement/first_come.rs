//! Who came first stays, until it has been idle as long as flows may be.

use super::slots::Slots;
use super::{EPOCH, Policy};
use std::time::Duration;
use twinpath_flow::time::Time;

/// `max-idle` of Open vSwitch, and the engine's own.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// First come, first served.
#[derive(Debug)]
pub struct FirstCome {
    last_used: Vec<Time>,
    present: Vec<u32>,
}

impl FirstCome {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(ids: u32) -> Self {
        Self { last_used: vec![Time(0); ids as usize], present: Vec::new() }
    }

    /// Notes the present and those that came.
    pub(super) fn come(&mut self, flow: u32) {
        self.present.push(flow);
    }

    /// Notes a packet.
    pub(super) fn used(&mut self, flow: u32, now: Time) {
        self.last_used[flow as usize] = now;
    }

    /// Takes out what was idle for too long.
    pub(super) fn expire(&mut self, slots: &mut Slots) {
        let now = slots.now;
        let last_used = &self.last_used;
        self.present.retain(|flow| {
            let idle = now.since(last_used[*flow as usize]) > IDLE + EPOCH;
            !(idle && slots.remove(*flow))
        });
    }
}

impl Policy for FirstCome {
    fn epoch(&mut self, _: usize, slots: &mut Slots) {
        self.expire(slots);
    }

    fn packet(&mut self, flow: u32, hit: bool, slots: &mut Slots) {
        self.used(flow, slots.now);
        if !hit && slots.add(flow) {
            self.come(flow);
        }
    }
}

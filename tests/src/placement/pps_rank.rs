//! The rebalancer of Open vSwitch (`other_config:offload-rebalance`, `ofproto-dpif-upcall.c`): first
//! come first served, and every 3 s flows with more packets a second take the places of flows with
//! fewer.

use super::Policy;
use super::first_come::FirstCome;
use super::slots::{Place, Slots};
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Epochs between two rankings (`OFFL_REBAL_INTVL_MSEC` 3000).
const EPOCHS: usize = 30;

/// Ranks by packets since the last ranking.
#[derive(Debug)]
pub struct PpsRank {
    base: FirstCome,
    packets: Vec<u32>,
    /// Swaps decided and not yet paid for.
    swaps: VecDeque<(u32, u32)>,
}

impl PpsRank {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(ids: u32) -> Self {
        let packets = vec![0; ids as usize];
        Self { base: FirstCome::new(ids), packets, swaps: VecDeque::new() }
    }

    fn rank(&mut self, slots: &Slots) {
        let rated = |place: Place| {
            let flows = (0u32..).zip(&self.packets);
            flows.filter(move |(flow, _)| slots.place(*flow) == place).map(|(f, p)| (*p, f))
        };
        let mut inside: Vec<_> = rated(Place::In).collect();
        let mut outside: Vec<_> = rated(Place::Out).filter(|(packets, _)| *packets > 0).collect();
        inside.sort_unstable();
        outside.sort_unstable_by_key(|(packets, flow)| (Reverse(*packets), *flow));
        let better = inside.iter().zip(&outside).take_while(|(cold, hot)| hot.0 > cold.0);
        self.swaps = better.map(|(cold, hot)| (cold.1, hot.1)).collect();
        self.packets.fill(0);
    }
}

impl Policy for PpsRank {
    fn epoch(&mut self, number: usize, slots: &mut Slots) {
        self.base.expire(slots);
        if number > 0 && number.is_multiple_of(EPOCHS) {
            self.rank(slots);
        }
        while let Some((cold, hot)) = self.swaps.front().copied() {
            if slots.swap(cold, hot) {
                self.base.come(hot);
            } else if slots.place(cold) == Place::In && slots.place(hot) == Place::Out {
                return;
            }
            self.swaps.pop_front();
        }
    }

    fn packet(&mut self, flow: u32, hit: bool, slots: &mut Slots) {
        self.packets[flow as usize] += 1;
        self.base.packet(flow, hit, slots);
    }
}

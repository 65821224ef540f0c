//! The pipeline: VLAN table, ACL table, groups.

use super::State;
use super::frame::Parts;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A flow: values and masks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) table: u32,
    pub(crate) priority: u32,
    pub(crate) in_port: (u32, u32),
    pub(crate) tci: (u16, u16),
    pub(crate) source: ([u8; 6], [u8; 6]),
    pub(crate) destination: ([u8; 6], [u8; 6]),
    pub(crate) ethertype: u16,
    pub(crate) protocol: (u8, u8),
    pub(crate) tos: (u8, u8),
    pub(crate) goto: Option<u32>,
    pub(crate) insert: Option<u16>,
    pub(crate) group: u32,
    pub(crate) hits: u64,
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    Interface { port: u32, pop: bool },
    Rewrite { lower: u32, source: [u8; 6], destination: [u8; 6], vlan: u16 },
    Flood(Vec<u32>),
}

fn mac_matches(found: [u8; 6], (value, mask): ([u8; 6], [u8; 6])) -> bool {
    (0..6).all(|i| (found[i] ^ value[i]) & mask[i] == 0)
}

impl Flow {
    fn matches(&self, table: u32, port: u32, parts: &Parts) -> bool {
        let ports = (port ^ self.in_port.0) & self.in_port.1 == 0;
        let tags = (parts.tci.unwrap_or(0) ^ self.tci.0) & self.tci.1 == 0;
        if table != self.table || !ports || !tags {
            return false;
        }
        if table == 10 {
            return true;
        }
        let (protocol, tos) = match parts.ethertype {
            0x0800 => (parts.rest[9], parts.rest[1]),
            0x86dd => (parts.rest[6], 0),
            _ => (0, 0),
        };
        mac_matches(parts.source, self.source)
            && mac_matches(parts.destination, self.destination)
            && (self.ethertype == 0 || self.ethertype == parts.ethertype)
            && (protocol ^ self.protocol.0) & self.protocol.1 == 0
            && (tos ^ self.tos.0) & self.tos.1 == 0
    }
}

impl State {
    /// A frame arrives.
    pub(crate) fn receive(&mut self, port: u32, frame: &[u8]) {
        if self.links() >> port & 1 == 0 {
            return;
        }
        let Some(mut parts) = Parts::read(frame) else {
            return self.note("frame shorter than its headers");
        };
        let Some(admitted) = self.best(10, port, &parts) else { return };
        if admitted.goto.is_none() {
            return;
        }
        if let Some(vlan) = admitted.insert.filter(|_| parts.tci.is_none()) {
            parts.tci = Some(vlan);
            parts.inserted = true;
        }
        if parts.tci.is_none() {
            return self.note("untagged frame behind the VLAN table");
        }
        if let Some(decided) = self.best(60, port, &parts) {
            self.execute(decided.group, port, parts);
        }
    }

    /// The flow of the highest priority; among equals, whichever.
    fn best(&mut self, table: u32, port: u32, parts: &Parts) -> Option<Flow> {
        let seed = self.seed;
        let chance = |cookie: &u64| {
            let mut hasher = DefaultHasher::new();
            (seed, cookie).hash(&mut hasher);
            hasher.finish()
        };
        let hits = self.flows.iter_mut().filter(|(_, flow)| flow.matches(table, port, parts));
        let best = hits.max_by_key(|(cookie, flow)| (flow.priority, chance(cookie)))?;
        best.1.hits += 1;
        Some(best.1.clone())
    }

    fn execute(&mut self, group: u32, from: u32, parts: Parts) {
        match self.groups.get(&group).cloned() {
            None => {}
            Some(Group::Interface { port, pop }) => self.leave((port, pop), from, parts),
            Some(Group::Rewrite { lower, source, destination, vlan }) => {
                let mut parts = parts;
                for (new, at) in
                    [(source, &mut parts.source), (destination, &mut parts.destination)]
                {
                    if new != [0; 6] {
                        *at = new;
                    }
                }
                if vlan != 0 {
                    parts.tci = Some(vlan);
                    if !parts.inserted {
                        parts.ethertype = 0;
                    }
                }
                self.execute(lower, from, parts);
            }
            Some(Group::Flood(members)) => {
                for member in members {
                    self.execute(member, from, parts.clone());
                }
            }
        }
    }

    fn leave(&mut self, (port, pop): (u32, bool), from: u32, mut parts: Parts) {
        if pop {
            parts.tci = None;
        }
        let frame = parts.bytes();
        match port {
            0 => self.hand_to_host(from, &frame),
            port if port > self.ports => self.note("sent to an absent port"),
            port if port == from => {}
            port if self.links() >> port & 1 == 1 => self.sent.push((port, frame)),
            _ => {}
        }
    }
}

//! Least recently used leaves. It knows of every packet, which no card tells.

use super::Policy;
use super::slots::{Place, Slots};

/// No flow.
const NONE: u32 = u32::MAX;

/// A list of flows by recency, as links in both directions.
#[derive(Debug)]
pub struct Lru {
    newer: Vec<u32>,
    older: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl Lru {
    /// Empty.
    #[must_use]
    pub fn new(ids: u32) -> Self {
        let none = vec![NONE; ids as usize];
        Self { newer: none.clone(), older: none, newest: NONE, oldest: NONE }
    }

    fn unlink(&mut self, flow: u32) {
        let (newer, older) = (self.newer[flow as usize], self.older[flow as usize]);
        match newer {
            NONE => self.newest = older,
            other => self.older[other as usize] = older,
        }
        match older {
            NONE => self.oldest = newer,
            other => self.newer[other as usize] = newer,
        }
    }

    fn push(&mut self, flow: u32) {
        self.newer[flow as usize] = NONE;
        self.older[flow as usize] = self.newest;
        match self.newest {
            NONE => self.oldest = flow,
            other => self.newer[other as usize] = flow,
        }
        self.newest = flow;
    }
}

impl Policy for Lru {
    fn epoch(&mut self, _: usize, _: &mut Slots) {}

    fn packet(&mut self, flow: u32, _: bool, slots: &mut Slots) {
        let place = slots.place(flow);
        if matches!(place, Place::Coming | Place::In) {
            self.unlink(flow);
            self.push(flow);
        } else if place == Place::Going {
            // It comes again with its next packet after that.
        } else if slots.has_room() {
            if slots.add(flow) {
                self.push(flow);
            }
        } else if self.oldest != NONE && slots.swap(self.oldest, flow) {
            self.unlink(self.oldest);
            self.push(flow);
        }
    }
}

//! A card of limited room as the reference policies use it: a budget of updates, and latency.

use super::Setting;
use std::collections::VecDeque;
use std::time::Duration;
use twinpath_flow::time::Time;

/// Where a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In software.
    Out,
    /// Its entry is being added.
    Coming,
    /// In the card.
    In,
    /// In the card, its entry is being deleted.
    Going,
}

/// Updates that may be made: a tenth of a second's worth at most.
#[derive(Debug)]
pub struct Budget {
    per_second: u64,
    /// In 1/1,000,000,000 updates.
    level: u128,
    filled: Time,
}

impl Budget {
    /// A full budget.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, level: u128::from(per_second) * 100_000_000, filled: Time(0) }
    }

    /// Takes `count` updates if there are so many.
    pub fn take(&mut self, now: Time, count: u128) -> bool {
        let gained = u128::from(self.per_second) * now.since(self.filled).as_nanos();
        self.level = (self.level + gained).min(u128::from(self.per_second) * 100_000_000);
        self.filled = now;
        let paid = self.level.checked_sub(count * 1_000_000_000);
        self.level = paid.unwrap_or(self.level);
        paid.is_some()
    }
}

/// The card.
#[derive(Debug)]
pub struct Slots {
    /// Time of the packet under way.
    pub now: Time,
    /// Entries added and deleted so far.
    pub updates: u64,
    room: usize,
    used: usize,
    places: Vec<Place>,
    budget: Budget,
    latency: Duration,
    coming: VecDeque<(Time, u32)>,
    leaving: VecDeque<(Time, u32)>,
}

impl Slots {
    /// An empty card for flows below `ids`.
    #[must_use]
    pub fn new(ids: u32, setting: Setting) -> Self {
        Self {
            now: Time(0),
            updates: 0,
            room: setting.room,
            used: 0,
            places: vec![Place::Out; ids as usize],
            budget: Budget::new(setting.updates_per_second),
            latency: setting.latency,
            coming: VecDeque::new(),
            leaving: VecDeque::new(),
        }
    }

    /// Lets the card do what is due.
    pub fn advance(&mut self, now: Time) {
        self.now = now;
        while let Some((_, flow)) = self.leaving.pop_front_if(|(due, _)| *due <= now) {
            self.places[flow as usize] = Place::Out;
        }
        while let Some((_, flow)) = self.coming.pop_front_if(|(due, _)| *due <= now) {
            self.places[flow as usize] = Place::In;
        }
    }

    /// Where a flow is.
    #[must_use]
    pub fn place(&self, flow: u32) -> Place {
        self.places[flow as usize]
    }

    /// Whether the card forwards the flow.
    #[must_use]
    pub fn serves(&self, flow: u32) -> bool {
        matches!(self.place(flow), Place::In | Place::Going)
    }

    /// Whether a place is free.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.used < self.room
    }

    /// Flows the card has room for.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Adds a flow to a free place, if there is one and the budget allows.
    pub fn add(&mut self, flow: u32) -> bool {
        if !self.has_room() || self.place(flow) != Place::Out || !self.budget.take(self.now, 1) {
            return false;
        }
        self.used += 1;
        self.updates += 1;
        self.come(flow, self.latency);
        true
    }

    /// Gives the place of one flow to another, if the budget allows. The new entry is added when
    /// the old one is gone.
    pub fn swap(&mut self, out: u32, flow: u32) -> bool {
        let possible = self.place(out) == Place::In && self.place(flow) == Place::Out;
        if !possible || !self.budget.take(self.now, 2) {
            return false;
        }
        self.updates += 2;
        self.go(out);
        self.come(flow, self.latency * 2);
        true
    }

    /// Takes a flow out, if the budget allows.
    pub fn remove(&mut self, flow: u32) -> bool {
        if self.place(flow) != Place::In || !self.budget.take(self.now, 1) {
            return false;
        }
        self.used -= 1;
        self.updates += 1;
        self.go(flow);
        true
    }

    fn go(&mut self, flow: u32) {
        self.places[flow as usize] = Place::Going;
        self.leaving.push_back((self.now.after(self.latency), flow));
    }

    fn come(&mut self, flow: u32, wait: Duration) {
        self.places[flow as usize] = Place::Coming;
        let due = self.now.after(wait);
        let position = self.coming.partition_point(|(other, _)| *other <= due);
        self.coming.insert(position, (due, flow));
    }
}

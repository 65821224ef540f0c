//! A long simulated time of churn: nothing grows.

use super::World;
use super::failure::{Failure, Wrong};
use super::scenario::{Faults, Scenario};
use crate::heap::live_bytes;
use std::time::Duration;
use twinpath_hw_sim::fault::{Class, Incident};

/// Packets of an hour come in so many moments.
const MOMENTS: u64 = 3_000;

/// Hours until everything has had its largest size.
const WARM: u64 = 4;

/// How much of a size may be added after that, in percent of it, and in units.
const GROWTH: (i64, i64) = (10, 64);

/// Faults that strike once an hour, in turn.
const FAULTS: [Class; 6] = [
    Class::CompletionLate,
    Class::ResetWanted,
    Class::EntryEcc,
    Class::HeartbeatStopped,
    Class::CompletionLost,
    Class::LinkDown,
];

/// Sizes at the end of an hour, when nothing is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Hour.
    pub hour: u64,
    /// Packets since the beginning.
    pub packets: u64,
    /// Flows made since the beginning.
    pub flows_made: u64,
    /// Bytes on the heap.
    pub heap: i64,
    /// Flows in software.
    pub flows: i64,
    /// Flows the engine knows.
    pub known: i64,
    /// Distinct masks of software's flows.
    pub masks: i64,
    /// Entries in the card.
    pub entries: i64,
    /// Operations under way.
    pub operations: i64,
    /// Packet buffers that are out.
    pub buffers: i64,
}

impl Sizes {
    /// Names of what must not grow, and their values.
    #[must_use]
    pub const fn bounded(&self) -> [(&'static str, i64); 6] {
        [
            ("heap", self.heap),
            ("flows", self.flows),
            ("known", self.known),
            ("masks", self.masks),
            ("entries", self.entries),
            ("buffers", self.buffers),
        ]
    }
}

/// Lives `hours` and tells the sizes at the end of each.
///
/// # Errors
/// Something went wrong, or grew.
pub fn live(seed: u64, hours: u64, tell: &mut dyn FnMut(&Sizes)) -> Result<(), Failure> {
    let scenario = Scenario { faults: Faults::Only(Vec::new()), ..Scenario::new(seed) };
    let mut world = World::new(&scenario)?;
    let room = world.card.software.pool.room();
    let mut warm: Option<Sizes> = None;
    for hour in 1..=hours {
        world.hour(hour)?;
        let sizes = world.sizes(hour, room);
        tell(&sizes);
        match &mut warm {
            Some(warm) if hour > WARM => no_growth(warm, &sizes)?,
            Some(warm) => grow(warm, &sizes),
            None => warm = Some(sizes),
        }
    }
    Ok(())
}

fn grow(warm: &mut Sizes, sizes: &Sizes) {
    warm.heap = warm.heap.max(sizes.heap);
    warm.flows = warm.flows.max(sizes.flows);
    warm.known = warm.known.max(sizes.known);
    warm.masks = warm.masks.max(sizes.masks);
    warm.entries = warm.entries.max(sizes.entries);
    warm.buffers = warm.buffers.max(sizes.buffers);
}

fn no_growth(warm: &Sizes, sizes: &Sizes) -> Result<(), Failure> {
    let (percent, units) = GROWTH;
    for ((name, most), (_, now)) in warm.bounded().into_iter().zip(sizes.bounded()) {
        if now > most + most * percent / 100 + units {
            let told = format!("{name} in hour {}: {now}, until hour {WARM} {most}", sizes.hour);
            return Err(Wrong::Growth.because(told));
        }
    }
    Ok(())
}

impl World {
    /// An hour of packets, new streams, rule changes, and a fault.
    fn hour(&mut self, hour: u64) -> Result<(), Failure> {
        let moment = Duration::from_secs(3600) / u32::try_from(MOMENTS).unwrap_or(u32::MAX);
        for at in 0..MOMENTS {
            for _ in 0..4 {
                self.packet()?;
            }
            if self.random.chance(30) {
                self.replace_stream();
            }
            if at.is_multiple_of(100) {
                self.change_rules()?;
            }
            if at == MOMENTS / 2 {
                self.incident(hour)?;
            }
            self.pass(moment)?;
            self.check_step()?;
        }
        self.mend()
    }

    /// Something goes wrong once.
    fn incident(&mut self, hour: u64) -> Result<(), Failure> {
        let class = FAULTS[usize::try_from(hour).unwrap_or(0) % FAULTS.len()];
        let at = self.now.0;
        self.trouble.begin();
        let incident = Incident { class, at, lasts: None, amount: None };
        let injected = self.card.device().inject(incident);
        injected.map_err(|error| Wrong::Stuck.because(error.to_string()))
    }

    /// `room` packet buffers were there at first.
    fn sizes(&self, hour: u64, room: usize) -> Sizes {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let path = &self.card.software.path;
        Sizes {
            hour,
            packets: self.deeds.packets,
            flows_made: path.totals().flows_made,
            heap: live_bytes(),
            flows: signed(path.flow_count()),
            known: signed(self.brain.engine.totals().flow_count),
            masks: signed(path.mask_count()),
            entries: signed(self.brain.engine.totals().entries),
            operations: signed(self.brain.engine.operations_under_way()),
            buffers: signed(room) - signed(self.card.software.pool.room()),
        }
    }
}

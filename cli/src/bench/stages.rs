//! How long packets stay in each stage.

use super::cycles;
use serde::Serialize;
use twinpath_fallback::software_path::watch::{Stage, Watch};

/// A stage as people read about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Copying frames from the source into buffers.
    Source,
    Parse,
    Hash,
    Lookup,
    Edit,
    /// Giving buffers back.
    Output,
}

/// Ticks of each part, summed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stages {
    last: u64,
    ticks: [u64; 6],
}

/// Ticks a packet, by stage.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct PerPacket {
    source: f64,
    parse: f64,
    hash: f64,
    lookup: f64,
    edit: f64,
    output: f64,
    /// What the sum exceeds the time without timers by: their own cost, and that of stages that
    /// cannot overlap any more. Below zero when the machine was busier without.
    timers: f64,
}

impl Stages {
    /// A burst begins.
    #[inline(always)]
    pub(super) fn begin(&mut self) {
        self.last = cycles::now();
    }

    /// A part has ended.
    #[inline(always)]
    pub(super) fn end(&mut self, part: Part) {
        let now = cycles::now();
        self.ticks[part as usize] += now.wrapping_sub(self.last);
        self.last = now;
    }

    /// The figures, beside those of runs without timers.
    pub(super) fn per_packet(&self, packets: u64, without_timers: f64) -> PerPacket {
        let each = |part: Part| self.ticks[part as usize] as f64 / packets.max(1) as f64;
        let sum: u64 = self.ticks.iter().sum();
        PerPacket {
            source: each(Part::Source),
            parse: each(Part::Parse),
            hash: each(Part::Hash),
            lookup: each(Part::Lookup),
            edit: each(Part::Edit),
            output: each(Part::Output),
            timers: sum as f64 / packets.max(1) as f64 - without_timers,
        }
    }
}

impl Watch for Stages {
    #[inline(always)]
    fn passed(&mut self, stage: Stage) {
        self.end(match stage {
            Stage::Parse => Part::Parse,
            Stage::Hash => Part::Hash,
            Stage::Lookup => Part::Lookup,
            Stage::Edit => Part::Edit,
        });
    }
}

impl PerPacket {
    /// One line of names and one of figures.
    pub(super) fn text(&self) -> String {
        format!(
            "ticks a packet   source  parse   hash  lookup   edit  output  (timers)\n\
             {:>23.1} {:>6.1} {:>6.1} {:>7.1} {:>6.1} {:>7.1} {:>9.1}\n",
            self.source, self.parse, self.hash, self.lookup, self.edit, self.output, self.timers
        )
    }
}

//! A packet on its way, and what may become of it under the rules that may decide it.

use std::collections::BTreeMap;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::reference::{self, Cause};
use twinpath_flow::rule::RuleId;
use twinpath_flow::time::Time;

/// What the rules of one generation do with a packet.
#[derive(Clone, Debug)]
pub struct Course {
    /// The generation.
    pub generation: Generation,
    /// Frames by port, in order.
    pub outputs: BTreeMap<PortNo, Vec<Vec<u8>>>,
    /// Rules that count it.
    pub rules: Vec<RuleId>,
    /// Copies to the controller.
    pub copies: u64,
    /// Whether it is refused before any rule.
    pub refused: bool,
    /// Copies that the output port refuses.
    pub undeliverable: u64,
}

impl Course {
    /// What `pipeline` does.
    #[must_use]
    pub fn of((generation, pipeline): (Generation, &Pipeline), port: PortNo, frame: &[u8]) -> Self {
        let outcome = reference::process(pipeline, frame, port);
        let mut outputs: BTreeMap<PortNo, Vec<Vec<u8>>> = BTreeMap::new();
        for (port, frame) in outcome.outputs {
            outputs.entry(port).or_default().push(frame);
        }
        let refuses = |cause: &Cause| matches!(cause, Cause::MtuOut(_) | Cause::Encap(_));
        let undeliverable = outcome.losses.iter().filter(|cause| refuses(cause)).count() as u64;
        Self {
            generation,
            outputs,
            rules: outcome.rules,
            copies: outcome.controller.len() as u64,
            refused: outcome.losses.len() as u64 > undeliverable,
            undeliverable,
        }
    }

    /// Frames it sends.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.outputs.values().map(Vec::len).sum()
    }
}

/// A packet.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Its number.
    pub number: u64,
    /// Its stream.
    pub stream: u64,
    /// Where it came in.
    pub port: PortNo,
    /// The packet.
    pub frame: Vec<u8>,
    /// When it came in.
    pub since: Time,
    /// What may become of it, as far as what was seen allows.
    pub courses: Vec<Course>,
    /// Frames seen by port.
    pub seen: BTreeMap<PortNo, usize>,
    /// Whether another packet under way looks the same somewhere: nothing is said of it then.
    pub vague: bool,
    /// Whether a frame of it left after one of a later packet of its stream, by the same port.
    pub overtaken: bool,
}

impl Journey {
    /// Its counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::one(self.frame.len())
    }

    /// Frames seen.
    #[must_use]
    pub fn seen_count(&self) -> usize {
        self.seen.values().sum()
    }

    /// Whether a course has been run to its end.
    #[must_use]
    pub fn is_complete(&self, course: &Course) -> bool {
        self.seen_count() == course.frames()
    }

    /// Whether every course left has been run to its end, and frames tell so.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.seen_count() > 0 && self.courses.iter().all(|course| self.is_complete(course))
    }

    /// Takes a frame that left by `port`, if it can be this packet's next there.
    pub fn take(&mut self, port: PortNo, frame: &[u8]) -> bool {
        let at = self.seen.get(&port).copied().unwrap_or(0);
        let is_next = |course: &Course| {
            course.outputs.get(&port).and_then(|frames| frames.get(at)).is_some_and(|f| f == frame)
        };
        if !self.courses.iter().any(is_next) {
            return false;
        }
        self.courses.retain(is_next);
        *self.seen.entry(port).or_default() += 1;
        true
    }
}

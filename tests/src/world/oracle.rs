//! Holds every frame that leaves against the specification.

use super::failure::{Failure, Wrong};
use super::journey::{Course, Journey};
use super::stream::Stream;
use crate::readings::hex;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use twinpath_cli::run::brain::Brain;
use twinpath_flow::card::Generation;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::rule::RuleId;
use twinpath_flow::time::Time;

/// Whether packets of a stream must leave in the order they came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Yes.
    Strict,
    /// No: the card cannot hold packets.
    Loose,
}

/// Whether the host has power over what the card does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reins {
    /// Yes.
    Held,
    /// No.
    Lost,
}

/// Between two numbers, one of which is not known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range<T> {
    /// At least.
    pub least: T,
    /// At most.
    pub most: T,
}

/// What should have been counted since the last look.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// By rule.
    pub rules: BTreeMap<RuleId, Range<Counts>>,
    /// Copies to the controller.
    pub copies: Range<u64>,
    /// Packets refused before any rule.
    pub refused: Range<u64>,
    /// Copies that ports must have refused.
    pub undeliverable: Range<u64>,
    /// Packets of which nothing was seen though something should have been: frames that miss.
    pub vanished: Vec<usize>,
    /// Frames that miss of packets of which something was seen.
    pub missing: usize,
    /// Packets of which nothing is said.
    pub vague: u64,
}

/// Packets under way and what may become of them.
#[derive(Debug, Default)]
pub struct Oracle {
    /// The rules that packets may meet, oldest first; the first of them are in force.
    pipelines: VecDeque<(Generation, Arc<Pipeline>)>,
    /// The rules in force before them.
    former: Option<(Generation, Arc<Pipeline>)>,
    journeys: BTreeMap<u64, Journey>,
    /// Packets that may send a frame out of a port.
    expected: HashMap<(PortNo, Vec<u8>), Vec<u64>>,
    /// By stream and output port: the last packet that left.
    left: HashMap<(u64, PortNo), u64>,
    /// Packets since the last look, by number: input port, generations that may have decided it.
    decided: BTreeMap<u64, (PortNo, Generation, Generation)>,
    account: Account,
    /// By rule: packets since the last look that it may have counted.
    possible: BTreeMap<RuleId, u64>,
    /// Packets that left behind later ones of their stream.
    overtaken: u64,
    next: u64,
}

impl Oracle {
    /// Packets on their way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.journeys.len()
    }

    /// Packets so far.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.next
    }

    /// The generation in force and the newest.
    #[must_use]
    pub fn generations(&self) -> (Generation, Generation) {
        let first = self.pipelines.front().map_or(Generation(0), |phase| phase.0);
        (first, self.pipelines.back().map_or(first, |phase| phase.0))
    }

    /// Packets that left behind later ones of their stream.
    #[must_use]
    pub const fn overtaken(&self) -> u64 {
        self.overtaken
    }

    /// Packets since the last look that a rule may have counted at most.
    #[must_use]
    pub fn possible(&self, rule: RuleId) -> u64 {
        self.possible.get(&rule).copied().unwrap_or_default()
    }

    /// Looks which rules packets may meet from now on. While nobody has
    /// power over the card, former ones too.
    ///
    /// # Errors
    /// A generation came and went unseen.
    pub fn note(&mut self, brain: &Brain, reins: Reins) -> Result<(), Failure> {
        let newest = self.pipelines.back().map(|phase| phase.0);
        if newest != Some(brain.generation()) {
            let (generation, pipeline) = match brain.pending() {
                Some((generation, pipeline)) => (*generation, pipeline),
                None => (brain.generation(), brain.pipeline()),
            };
            if newest.is_some_and(|newest| newest.0 + 1 != generation.0) {
                return Err(Wrong::Generations.because("a generation came and went unseen"));
            }
            self.pipelines.push_back((generation, Arc::clone(pipeline)));
            self.extend(generation, &Arc::clone(pipeline));
        }
        while reins == Reins::Held
            && self.pipelines.front().is_some_and(|phase| phase.0 < brain.in_force())
        {
            self.former = self.pipelines.pop_front();
        }
        Ok(())
    }

    /// Packets under way may meet these rules too.
    fn extend(&mut self, generation: Generation, pipeline: &Pipeline) {
        let numbers: Vec<u64> = self.journeys.keys().copied().collect();
        for number in numbers {
            let Some(journey) = self.journeys.get_mut(&number) else { continue };
            let course = Course::of((generation, pipeline), journey.port, &journey.frame);
            let fits = |(port, count): (&PortNo, &usize)| {
                let first = |course: &Course| {
                    course
                        .outputs
                        .get(port)
                        .and_then(|frames| frames.get(..*count).map(<[_]>::to_vec))
                };
                let seen = journey.courses.first().and_then(first);
                seen.is_some() && first(&course) == seen
            };
            if journey.seen.iter().all(fits) {
                let is_new =
                    |rule: &&RuleId| !journey.courses.iter().any(|c| c.rules.contains(*rule));
                for rule in course.rules.iter().filter(is_new) {
                    *self.possible.entry(*rule).or_default() += 1;
                }
                journey.courses.push(course.clone());
                let clash = self.enter(number, &course);
                self.blur(&clash);
            }
        }
    }

    /// Notes which frames a course would send; the packets that would send the same.
    fn enter(&mut self, number: u64, course: &Course) -> Vec<u64> {
        let mut clash = Vec::new();
        for (port, frame) in course.outputs.iter().flat_map(|(p, f)| f.iter().map(move |f| (p, f)))
        {
            let numbers = self.expected.entry((*port, frame.clone())).or_default();
            if !numbers.contains(&number) {
                numbers.retain(|other| self.journeys.contains_key(other));
                clash.extend_from_slice(numbers);
                numbers.push(number);
            }
        }
        if !clash.is_empty() {
            clash.push(number);
        }
        clash
    }

    fn blur(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(journey) = self.journeys.get_mut(number) {
                journey.vague = true;
            }
        }
    }

    /// The next packet of a stream; nothing is promised of it yet.
    pub fn depart(&mut self, stream: &Stream, now: Time) -> Vec<u8> {
        let number = self.next;
        self.next += 1;
        let frame = stream.packet(number);
        let courses: Vec<Course> = self
            .pipelines
            .iter()
            .map(|(generation, pipeline)| Course::of((*generation, pipeline), stream.port, &frame))
            .collect();
        let journey = Journey {
            number,
            stream: stream.number,
            port: stream.port,
            frame: frame.clone(),
            since: now,
            courses: courses.clone(),
            seen: BTreeMap::new(),
            vague: false,
            overtaken: false,
        };
        self.journeys.insert(number, journey);
        let rules: BTreeSet<RuleId> = courses.iter().flat_map(|c| c.rules.clone()).collect();
        for rule in rules {
            *self.possible.entry(rule).or_default() += 1;
        }
        let clash: Vec<u64> = courses.iter().flat_map(|c| self.enter(number, c)).collect();
        self.blur(&clash);
        frame
    }

    /// A frame left by a port.
    ///
    /// # Errors
    /// No packet under way may send it, or it is too early or too late.
    pub fn arrive(
        &mut self,
        (port, frame): (PortNo, &[u8]),
        now: Time,
        order: Order,
    ) -> Result<(), Failure> {
        // A lookup by borrowed bytes would need another map; frames are few.
        let key = (port, frame.to_vec());
        let numbers = self.expected.get(&key).cloned().unwrap_or_default();
        let taken = numbers
            .into_iter()
            .find(|number| self.journeys.get_mut(number).is_some_and(|j| j.take(port, frame)));
        let Some(number) = taken else { return Err(self.stray(port, frame, now)) };
        let journey = self.journeys.get_mut(&number).expect("just found");
        if !journey.vague {
            let last = self.left.entry((journey.stream, port)).or_default();
            if number < *last && !journey.overtaken {
                journey.overtaken = true;
                self.overtaken += 1;
            }
            if number < *last && order == Order::Strict {
                let told = format!(
                    "packet {number} of stream {} left by port {} after packet {last}; frame {}",
                    journey.stream,
                    port.0,
                    hex(&journey.frame)
                );
                return Err(Wrong::Reordered.because(told));
            }
            *last = number.max(*last);
        }
        if journey.is_over() {
            self.close(number);
        }
        Ok(())
    }

    fn stray(&self, port: PortNo, frame: &[u8], now: Time) -> Failure {
        let mut told = format!("port {} sent {} at {now:?}; under way: ", port.0, hex(frame));
        let similar = |journey: &&Journey| {
            frame.windows(6).rev().take(24).any(|w| w == &journey.number.to_be_bytes()[2..])
        };
        let of = self.journeys.values().find(similar);
        match of {
            None => told.push_str("nothing like it"),
            Some(journey) => {
                told.push_str(&format!(
                    "packet {} of stream {}, port {}, {}, seen {:?}",
                    journey.number,
                    journey.stream,
                    journey.port.0,
                    hex(&journey.frame),
                    journey.seen
                ));
                let former = self.former.iter().map(|(generation, pipeline)| {
                    Course::of((*generation, pipeline), journey.port, &journey.frame)
                });
                let former: Vec<Course> = former.collect();
                for course in journey.courses.iter().chain(&former) {
                    told.push_str(&format!("; by generation {}:", course.generation.0));
                    for (port, frames) in &course.outputs {
                        let frames: Vec<String> = frames.iter().map(|frame| hex(frame)).collect();
                        told.push_str(&format!(" {}: {}", port.0, frames.join(" ")));
                    }
                }
            }
        }
        Wrong::Stray.because(told)
    }

    /// A packet of which all is seen.
    fn close(&mut self, number: u64) {
        let Some(journey) = self.journeys.remove(&number) else { return };
        if journey.vague {
            self.account.vague += 1;
        }
        self.account.add(&journey, &journey.courses);
        let generations = || journey.courses.iter().map(|course| course.generation);
        if let (Some(least), Some(most)) = (generations().min(), generations().max())
            && !journey.vague
        {
            self.decided.insert(number, (journey.port, least, most));
        }
    }

    /// The packet that has been under way longest of those of which something must still come.
    #[must_use]
    pub fn oldest(&self) -> Option<&Journey> {
        let awaits = |journey: &&Journey| !journey.courses.iter().any(|c| journey.is_complete(c));
        self.journeys.values().find(awaits)
    }

    /// Packets under way since a time that is too `late`, of which something must still come.
    #[must_use]
    pub fn awaited(&self, late: impl Fn(Time) -> bool) -> u64 {
        let awaits = |journey: &&Journey| {
            late(journey.since) && !journey.courses.iter().any(|c| journey.is_complete(c))
        };
        self.journeys.values().filter(awaits).count() as u64
    }

    /// Nothing is inside any more: what was not seen will not come. What should have been counted
    /// since the last time. After faults frames may be missing, and what was seen of a packet does not
    /// tell by which rules it was decided.
    ///
    /// # Errors
    /// Packets of a port met new rules, then old ones.
    pub fn settle(&mut self, order: Order) -> Result<Account, Failure> {
        for (_, mut journey) in std::mem::take(&mut self.journeys) {
            let complete = |course: &Course| journey.seen_count() == course.frames();
            if journey.courses.iter().any(complete) {
                let seen = journey.seen_count();
                if order == Order::Strict {
                    journey.courses.retain(|course| course.frames() == seen);
                }
                let number = journey.number;
                self.journeys.insert(number, journey);
                self.close(number);
            } else {
                self.account.miss(&journey);
            }
        }
        self.expected.clear();
        self.possible.clear();
        let mut reached: BTreeMap<PortNo, Generation> = BTreeMap::new();
        for (number, (port, least, most)) in std::mem::take(&mut self.decided) {
            let reached = reached.entry(port).or_insert(least);
            if most < *reached && order == Order::Strict {
                let told = format!(
                    "packet {number} of port {} met generation {}, one before it {}",
                    port.0, most.0, reached.0
                );
                return Err(Wrong::Generations.because(told));
            }
            *reached = least.max(*reached);
        }
        Ok(std::mem::take(&mut self.account))
    }

    /// Forgets the streams that are gone.
    pub fn keep_streams(&mut self, is_alive: impl Fn(u64) -> bool) {
        self.left.retain(|(stream, _), _| is_alive(*stream));
    }
}

impl Account {
    /// A packet that met one of `courses`.
    fn add(&mut self, journey: &Journey, courses: &[Course]) {
        let least = |what: &dyn Fn(&Course) -> u64| courses.iter().map(what).min().unwrap_or(0);
        let most = |what: &dyn Fn(&Course) -> u64| courses.iter().map(what).max().unwrap_or(0);
        let span = |what: &dyn Fn(&Course) -> u64| (least(what), most(what));
        let add = |range: &mut Range<u64>, (least, most): (u64, u64)| {
            range.least += least;
            range.most += most;
        };
        add(&mut self.copies, span(&|course| course.copies));
        add(&mut self.refused, span(&|course| u64::from(course.refused)));
        add(&mut self.undeliverable, span(&|course| course.undeliverable));
        for course in courses {
            for rule in &course.rules {
                self.rules.entry(*rule).or_default();
            }
        }
        for (rule, range) in &mut self.rules {
            let has = |course: &Course| course.rules.contains(rule);
            if courses.iter().any(has) {
                range.most += journey.counts();
            }
            if !courses.is_empty() && courses.iter().all(has) {
                range.least += journey.counts();
            }
        }
    }

    /// A packet that did not arrive whole.
    fn miss(&mut self, journey: &Journey) {
        let seen = journey.seen_count();
        let frames = journey.courses.iter().map(Course::frames);
        let missing = frames.min().unwrap_or(0).saturating_sub(seen);
        let mut all = Self::default();
        all.add(journey, &journey.courses);
        for (rule, range) in all.rules {
            let sum = self.rules.entry(rule).or_default();
            sum.most += range.most;
            if seen > 0 {
                sum.least += range.least;
            }
        }
        self.copies.most += all.copies.most;
        self.undeliverable.most += all.undeliverable.most;
        if journey.vague {
            self.vague += 1;
        } else if seen == 0 {
            self.vanished.push(missing);
        } else {
            self.missing += missing;
        }
    }
}

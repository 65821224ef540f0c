//! The engine with the rules and their changes: drains the engine and executes what it wants.

use super::event_ring::EventRing;
use super::keeper::FlowKeeper;
use super::meter::Meter;
use super::state::{RuleLists, State};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use twinpath_fallback::software_path::Removed;
use twinpath_flow::card::{FlowOp, Generation};
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::Rule;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;
use twinpath_offload::io::{Input, Output, ResetCause};
use twinpath_offload::shadow::Finding;
use twinpath_offload::{Engine, EngineEvent, RuleStore, Settings};

/// Differences that wait to be kept at most; later ones are only told.
const FINDINGS_MAX: usize = 16;

/// Counts of software's flows told to the engine at once: what comes meanwhile goes first, so that
/// a million flows keep no new one waiting.
const COUNTS_AT_ONCE: usize = 1024;

/// Of those, so many are looked up together.
const LOOK_AHEAD: usize = 32;

/// What software counted for a flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowCount {
    /// The flow.
    pub id: FlowId,
    /// Absolute since it was made.
    pub counts: Counts,
    /// Its last packet in software.
    pub last_used: Time,
}

/// What the engine wants of a card besides operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// A sweep of its counters.
    pub sweep: bool,
    /// A reset.
    pub reset: Option<ResetCause>,
}

/// Engine, rules, and the change of rules under way.
#[derive(Debug)]
pub struct Brain {
    /// The engine; tell it things through [`Brain::tell`].
    pub engine: Engine,
    /// Events for people.
    pub events: EventRing,
    /// Operations for the card, in order; the card's owner takes them.
    pub operations: VecDeque<FlowOp>,
    /// Differences between the card and the rules that are to be kept; the session takes them.
    pub findings: Vec<Finding>,
    /// What else the engine wants of the card; the card's owner clears it.
    pub wants: Wants,
    /// What updates of the card take of this thread's time.
    pub meter: Meter,
    rules: RuleStore,
    ports: Arc<PortTable>,
    pipeline: Arc<Pipeline>,
    /// The change whose flows are being looked at.
    preparing: Option<(Generation, Arc<Pipeline>)>,
    /// The change that is prepared and not in force yet.
    pending: Option<(Generation, Arc<Pipeline>)>,
    generation: Generation,
    /// The rules differ from the newest pipeline made of them.
    changed: bool,
    /// Whether rules have changed since a state was written.
    unsaved: bool,
    /// Whether the card is not told of a change before a state was written.
    guarded: bool,
    /// Whether changes wait until a card was taken over in the generation it has.
    deferred: bool,
    reported: Option<Time>,
    /// Counts not told yet.
    counted: VecDeque<FlowCount>,
    /// The engine waits for the last of them.
    is_reporting: bool,
}

impl Brain {
    /// A brain that wants `rules`, whose first generation is in force from `now` on.
    pub fn new(ports: Arc<PortTable>, rules: Vec<Rule>, settings: Settings, now: Time) -> Self {
        let mut store = RuleStore::new();
        store.replace(rules);
        let pipeline = Arc::new(store.pipeline(Arc::clone(&ports)));
        Self {
            engine: Engine::new(settings, Arc::clone(&pipeline), now),
            events: EventRing::default(),
            operations: VecDeque::new(),
            findings: Vec::new(),
            wants: Wants::default(),
            meter: Meter::default(),
            rules: store,
            ports,
            pipeline,
            preparing: None,
            pending: None,
            generation: Generation(0),
            changed: false,
            unsaved: false,
            guarded: false,
            deferred: false,
            reported: None,
            counted: VecDeque::new(),
            is_reporting: false,
        }
    }

    /// A brain that goes on from a former process's state, at the generation that its card has.
    pub(crate) fn resume(
        (ports, settings): (Arc<PortTable>, Settings),
        state: &State,
        generation: Generation,
        now: Time,
    ) -> Self {
        let lists = &state.rules;
        let is_next = generation.0 == lists.generation.wrapping_add(1);
        let in_force = lists.pending.as_ref().filter(|_| is_next).unwrap_or(&lists.in_force);
        let pipeline = Arc::new(Pipeline::new(Arc::clone(&ports), in_force.iter().cloned()));
        let engine =
            Engine::resume(settings, (generation, Arc::clone(&pipeline)), &state.accounts, now);
        let rules = RuleStore::resume(lists.wanted.clone(), lists.last_id);
        let wanted = rules.pipeline(Arc::clone(&ports));
        let changed = !wanted.iter().eq(pipeline.iter());
        let fresh = Self::new(Arc::clone(&ports), Vec::new(), Settings::default(), now);
        Self { engine, rules, pipeline, generation, changed, deferred: true, ..fresh }
    }

    /// Tells the card of changes of rules only when a state was written since.
    pub(crate) const fn guard(&mut self) {
        self.guarded = true;
    }

    /// Lets changes begin: the card was taken over, or will not be.
    pub(crate) const fn begin_changes(&mut self) {
        self.deferred = false;
    }

    /// Whether operations wait for a state to be written.
    pub(crate) const fn awaits_save(&self) -> bool {
        self.guarded && self.unsaved
    }

    /// A state with the rules is being written; whether they have changed since the last one.
    pub(crate) const fn take_unsaved(&mut self) -> bool {
        std::mem::replace(&mut self.unsaved, false)
    }

    /// The rules for a state.
    pub(crate) fn rule_lists(&self) -> RuleLists {
        let list = |pipeline: &Pipeline| pipeline.iter().cloned().collect();
        RuleLists {
            generation: self.in_force().0,
            in_force: list(&self.pipeline),
            pending: self.pending.as_ref().map(|(_, pipeline)| list(pipeline)),
            wanted: self.rules.rules().to_vec(),
            last_id: self.rules.last_id(),
        }
    }

    /// The pipeline in force.
    pub const fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The change under way: its generation and the rules then in force.
    pub const fn pending(&self) -> Option<&(Generation, Arc<Pipeline>)> {
        self.pending.as_ref()
    }

    /// The newest generation that decides packets: in force, or prepared.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The generation in force.
    pub fn in_force(&self) -> Generation {
        self.pending.as_ref().map_or(self.generation, |(next, _)| Generation(next.0 - 1))
    }

    /// The generation that has all changes asked for, once it is in force.
    pub const fn newest(&self) -> Generation {
        let preparing = self.preparing.is_some() as u32;
        Generation(self.generation.0 + preparing + self.changed as u32)
    }

    /// The ports rules may name.
    pub const fn ports(&self) -> &Arc<PortTable> {
        &self.ports
    }

    /// The rules wanted now.
    pub const fn rules(&self) -> &RuleStore {
        &self.rules
    }

    /// Changes the rules; [`Brain::settle`] starts what follows.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut RuleStore) -> T) -> T {
        self.changed = true;
        self.unsaved = true;
        change(&mut self.rules)
    }

    /// Whether a change of rules is not in force yet.
    pub const fn is_changing(&self) -> bool {
        self.changed || self.preparing.is_some() || self.pending.is_some()
    }

    /// Tells the engine something; [`Brain::settle`] when all is told.
    pub fn tell(&mut self, now: Time, input: Input) {
        self.engine.handle(now, input);
    }

    /// Takes the counts that the keeper was asked for, and tells the engine some of them.
    pub fn report(&mut self, now: Time, counts: impl IntoIterator<Item = FlowCount>) {
        self.counted.extend(counts);
        self.is_reporting = true;
        self.tell_counts(now, COUNTS_AT_ONCE);
    }

    /// Tells the engine all counts that wait.
    pub fn tell_all_counts(&mut self, now: Time) {
        self.tell_counts(now, self.counted.len());
    }

    fn tell_counts(&mut self, now: Time, most: usize) {
        let most = most.min(self.counted.len());
        for told in 0..most {
            if told % LOOK_AHEAD == 0 {
                self.engine.look_ahead(self.counted.iter().take(LOOK_AHEAD).map(|count| count.id));
            }
            let Some(count) = self.counted.pop_front() else { break };
            // One that has ended meanwhile brought its last counts with it.
            if self.engine.serves(count.id) {
                let FlowCount { id, counts, last_used } = count;
                let last_used = Some(last_used);
                self.engine.handle(now, Input::SoftwareCounts { id, counts, last_used });
            }
        }
        if self.counted.is_empty() && std::mem::take(&mut self.is_reporting) {
            self.tell(now, Input::SoftwareReported);
        }
    }

    /// When [`Self::tick`] has something to do without other news.
    pub fn next_tick(&self) -> Option<Time> {
        let counts = (!self.counted.is_empty()).then_some(self.reported.unwrap_or_default());
        [counts, self.engine.next_timeout()].into_iter().flatten().min()
    }

    /// Tells the engine some of the counts that wait, and the time if it is due.
    pub fn tick(&mut self, now: Time) {
        if !self.counted.is_empty() {
            self.tell_counts(now, COUNTS_AT_ONCE);
        }
        let took = self.meter.take();
        if took > Duration::ZERO {
            self.tell(now, Input::HostTime(took));
        }
        if self.engine.next_timeout().is_some_and(|due| due <= now) {
            let begun = self.meter.begin();
            self.tell(now, Input::Timeout);
            self.meter.end(begun);
        }
    }

    /// Executes everything the engine wants, does the next part of a change of rules under way, and
    /// starts the next when one is wanted and none is.
    pub fn settle(&mut self, now: Time, mut keeper: Option<&mut dyn FlowKeeper>) {
        let mut went_on = false;
        loop {
            while let Some(output) = self.engine.poll_output() {
                self.execute(now, output, reborrow(&mut keeper));
            }
            let is_under_way = keeper.as_ref().is_some_and(|keeper| keeper.is_under_way());
            if let Some(keeper) = reborrow(&mut keeper).filter(|_| is_under_way && !went_on) {
                went_on = true;
                self.go_on(now, keeper);
                continue;
            }
            let is_busy = is_under_way || self.pending.is_some() || self.preparing.is_some();
            if !self.changed || self.deferred || is_busy {
                return;
            }
            // Ends: the change is pending now, and `changed` is set again only by outputs that the
            // engine gives once per rule that expires.
            self.start_change(now, reborrow(&mut keeper));
        }
    }

    fn start_change(&mut self, now: Time, keeper: Option<&mut dyn FlowKeeper>) {
        self.changed = false;
        let pipeline = Arc::new(self.rules.pipeline(Arc::clone(&self.ports)));
        let generation = Generation(self.generation.0 + 1);
        let stale = match keeper {
            None => Some(Vec::new()),
            Some(keeper) => match keeper.prepare(now, self, generation, &pipeline) {
                Ok(stale) => stale,
                Err(error) => return self.events.error(now, format!("rule change: {error}")),
            },
        };
        self.preparing = Some((generation, pipeline));
        if let Some(stale) = stale {
            self.prepared(now, stale);
        }
    }

    /// Does the next part of a change.
    fn go_on(&mut self, now: Time, keeper: &mut dyn FlowKeeper) {
        let part = keeper.go_on();
        for removed in part.gone {
            self.flow_gone(now, &removed);
        }
        if let Some(stale) = part.stale {
            self.prepared(now, stale);
        }
    }

    /// All flows were looked at: packets are decided by the next generation from now on.
    fn prepared(&mut self, now: Time, stale: Vec<FlowId>) {
        let Some((generation, pipeline)) = self.preparing.take() else { return };
        self.generation = generation;
        self.unsaved = true;
        self.pending = Some((generation, Arc::clone(&pipeline)));
        self.tell(now, Input::PipelineChange { generation, pipeline, stale });
    }

    fn execute(&mut self, now: Time, output: Output, keeper: Option<&mut dyn FlowKeeper>) {
        match output {
            Output::Card(operation) => self.operations.push_back(operation),
            Output::RemoveFlow { id, .. } => {
                if let Some(removed) = keeper.and_then(|keeper| keeper.remove(id)) {
                    self.flow_gone(now, &removed);
                }
            }
            Output::RulesExpired(expired) => {
                self.change(|rules| rules.expire(&expired));
            }
            Output::Committed(generation) => {
                if let Some((_, pipeline)) = self.pending.take_if(|next| next.0 == generation) {
                    self.pipeline = pipeline;
                    self.unsaved = true;
                }
                if let Some(keeper) = keeper {
                    for removed in keeper.commit(now, self, generation) {
                        self.flow_gone(now, &removed);
                    }
                }
            }
            Output::SweepWanted => self.wants.sweep = true,
            Output::SoftwareCountsWanted => {
                let since = self.reported.replace(now);
                match keeper {
                    Some(keeper) => keeper.report(now, since, self),
                    None => self.tell(now, Input::SoftwareReported),
                }
            }
            Output::Diverged(finding) => {
                if self.findings.len() < FINDINGS_MAX {
                    self.findings.push(*finding);
                }
            }
            Output::ResetCard(cause) => self.wants.reset = Some(cause),
            Output::Event(event) => {
                let text = event.to_string();
                match event {
                    EngineEvent::Refused { .. } => {
                        self.events.repeated(now, "flows were not taken by the card", text);
                    }
                    EngineEvent::Diverged { .. } => self.events.error(now, text),
                    _ => self.events.event(now, text),
                }
            }
        }
    }

    /// Tells the engine that software has dropped a flow.
    pub(super) fn flow_gone(&mut self, now: Time, removed: &Removed) {
        let counts = removed.usage.counts;
        let last_used = (counts != Counts::default()).then_some(removed.usage.last_used);
        self.tell(now, Input::FlowGone { id: removed.id, counts, last_used });
    }
}

/// The same keeper, lent for a shorter time.
fn reborrow<'a>(keeper: &'a mut Option<&mut dyn FlowKeeper>) -> Option<&'a mut dyn FlowKeeper> {
    match keeper {
        Some(keeper) => Some(&mut **keeper),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::key::{Key, MaskedKey};
    use twinpath_flow::steps::Flow;

    fn id(index: u32) -> FlowId {
        FlowId { index, generation: 0 }
    }

    fn count(index: u32) -> FlowCount {
        FlowCount { id: id(index), counts: Counts::one(60), last_used: Time(0) }
    }

    fn told(brain: &Brain) -> u64 {
        brain.engine.totals().flows.software.counts.packets
    }

    /// A brain that was told of `flows`.
    fn brain(flows: u32) -> Brain {
        let ports = Arc::new(PortTable::new(Vec::new()).unwrap());
        let mut brain = Brain::new(ports, Vec::new(), Settings::default(), Time(0));
        let (matching, steps, rules) = (MaskedKey::default(), Vec::new(), Vec::new());
        let flow = Arc::new(Flow { matching, steps, ttl_threshold: None, rules });
        for index in 0..flows {
            let (id, flow, from) = (id(index), Arc::clone(&flow), Generation(0));
            let made = Input::FlowMade { id, flow, key: Key::ZERO, from, until: None };
            brain.tell(Time(0), made);
        }
        brain.settle(Time(0), None);
        brain
    }

    #[test]
    fn counts_of_very_many_flows_are_told_in_parts() {
        let mut brain = brain(10_000);
        brain.report(Time(0), (0..10_000).map(count));
        let mut parts = vec![told(&brain)];
        while brain.next_tick() == Some(Time(0)) && parts.len() < 20 {
            brain.tick(Time(0));
            parts.push(told(&brain));
        }
        assert_eq!(parts[..3], [1024, 2048, 3072]);
        assert_eq!(parts.last(), Some(&10_000));
    }

    #[test]
    fn a_flow_that_ends_while_its_counts_wait_is_counted_once() {
        let mut brain = brain(10_000);
        brain.report(Time(0), (0..10_000).map(count));
        let gone = Input::FlowGone { id: id(9_999), counts: Counts::one(60), last_used: None };
        brain.tell(Time(0), gone);
        brain.tell_all_counts(Time(0));
        assert_eq!(told(&brain), 10_000);
        while let Some(output) = brain.engine.poll_output() {
            assert!(!matches!(output, Output::Event(_)), "{output:?}");
        }
    }
}

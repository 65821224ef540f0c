//! The world: three input ports with one rule each, packets, flows of several masks.

use super::Random;
use super::card::{Faults, ModelCard, Verdict};
use super::shape::{PORTS, Shape, output_of, pipeline};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{
    CounterSink, DeathCause, EntryId, Epoch, Event, Fence, Generation, Sweep,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::port::PortNo;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, FlowId, Step};
use twinpath_flow::time::Time;
use twinpath_offload::{Engine, EngineEvent, Input, Output, Settings};

/// A flow in the software path.
#[derive(Debug)]
pub(crate) struct SoftFlow {
    pub(crate) flow: Arc<Flow>,
    from: Generation,
    until: Option<Generation>,
    counts: Counts,
    last_used: Time,
    dirty: bool,
}

/// Rules by input port, as one generation has them.
pub(crate) type Rules = [RuleId; PORTS as usize];

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: Time,
    pub(crate) engine: Engine,
    pub(crate) card: Option<ModelCard>,
    pub(crate) soft: BTreeMap<FlowId, SoftFlow>,
    pub(crate) shape: Shape,
    epoch: Epoch,
    next_slot: u32,
    next_rule: u32,
    /// Rules of the generation in force and of the one being committed.
    pub(crate) current: (Generation, Rules),
    pub(crate) next: Option<(Generation, Rules)>,
    /// Every packet decided, by rule.
    pub(crate) by_rule: BTreeMap<RuleId, Counts>,
    pub(crate) all: Counts,
    /// Counted by a card that died before it said so.
    pub(crate) lost_by_rule: BTreeMap<RuleId, u64>,
    pub(crate) lost: u64,
    pub(crate) removed: Vec<FlowId>,
    pub(crate) expired: Vec<RuleId>,
    pub(crate) seen: BTreeMap<RuleId, u64>,
    /// Packets that each flow was seen to have.
    pub(crate) seen_flows: BTreeMap<FlowId, u64>,
    pub(crate) events: Vec<EngineEvent>,
}

impl World {
    pub(crate) fn new(seed: u64, shape: Shape, settings: Settings) -> Self {
        Self::with_timeouts(seed, shape, settings, (0, 0))
    }

    /// A world whose rules have these idle and hard timeouts.
    pub(crate) fn with_timeouts(
        seed: u64,
        shape: Shape,
        settings: Settings,
        (idle, hard): (u16, u16),
    ) -> Self {
        let rules = [RuleId(1), RuleId(2), RuleId(3)];
        Self {
            random: Random::new(seed),
            now: Time(0),
            engine: Engine::new(settings, pipeline(&rules, idle, hard), Time(0)),
            card: None,
            soft: BTreeMap::new(),
            shape,
            epoch: Epoch(0),
            next_slot: 0,
            next_rule: 4,
            current: (Generation(0), rules),
            next: None,
            by_rule: BTreeMap::new(),
            all: Counts::default(),
            lost_by_rule: BTreeMap::new(),
            lost: 0,
            removed: Vec::new(),
            expired: Vec::new(),
            seen: BTreeMap::new(),
            seen_flows: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll_output() {
            self.execute(output);
        }
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Card(op) => self.card.as_mut().expect("ops only for a card").submit(op),
            Output::RemoveFlow { id, .. } => {
                self.removed.push(id);
                self.drop_flow(id);
            }
            Output::RulesExpired(rules) => self.expired.extend(rules.iter().map(|(id, _)| *id)),
            Output::Committed(generation) => {
                let (next, rules) = self.next.take().expect("a change was under way");
                assert_eq!(next, generation);
                self.current = (next, rules);
                let dead = |f: &SoftFlow| f.until.is_some_and(|until| until <= generation);
                let gone: Vec<_> =
                    self.soft.iter().filter(|(_, f)| dead(f)).map(|(id, _)| *id).collect();
                gone.into_iter().for_each(|id| self.drop_flow(id));
            }
            Output::SweepWanted => self.sweep(),
            Output::SoftwareCountsWanted => self.report(),
            Output::ResetCard(_) => {
                self.note_lost();
                self.card = None;
            }
            Output::Diverged(finding) => panic!("nothing was mirrored: {finding:?}"),
            Output::Event(event) => self.events.push(event),
        }
    }

    fn drop_flow(&mut self, id: FlowId) {
        if let Some(flow) = self.soft.remove(&id) {
            let (counts, last_used) = (flow.counts, Some(flow.last_used));
            self.tell(Input::FlowGone { id, counts, last_used });
        }
    }

    pub(crate) fn report(&mut self) {
        let dirty: Vec<_> = self.soft.iter().filter(|(_, f)| f.dirty).map(|(id, _)| *id).collect();
        for id in dirty {
            // One that the engine dropped meanwhile brought its last counts with it.
            let Some(flow) = self.soft.get_mut(&id) else { continue };
            flow.dirty = false;
            let (counts, last_used) = (flow.counts, Some(flow.last_used));
            self.tell(Input::SoftwareCounts { id, counts, last_used });
        }
        self.tell(Input::SoftwareReported);
    }

    pub(crate) fn sweep(&mut self) {
        let Some(card) = self.card.as_mut() else { return self.tell(Input::SweepFailed) };
        let sweep = Sweep { as_of: self.now, epoch: self.epoch, complete: true };
        self.engine.begin(self.now, &sweep);
        card.sweep(self.now, |counts| self.engine.entry(&counts));
        self.tell(Input::Swept(sweep));
    }

    pub(crate) fn card_up(&mut self, faults: Faults) {
        self.epoch.0 += 1;
        let capabilities = self.shape.capabilities();
        self.card = Some(ModelCard::new(capabilities.clone(), faults));
        let (capabilities, epoch) = (Arc::new(capabilities), self.epoch);
        self.tell(Input::CardUp { capabilities, epoch, generation: Generation(0) });
    }

    /// What the card counted and nobody will ever know.
    fn note_lost(&mut self) {
        let Some(card) = self.card.as_ref() else { return };
        let entries = card.entries.values();
        let entries =
            entries.map(|h| (h.entry.edit.outputs[0], h.counts.packets - h.swept.packets));
        for (port, lost) in entries.chain(card.unsaid.values().copied()) {
            let rule = RuleId(u32::from(port.0) - 10);
            *self.lost_by_rule.entry(rule).or_default() += lost;
            self.lost += lost;
        }
    }

    /// An entry vanishes from the card, with what it counted since the last sweep.
    pub(crate) fn vanish(&mut self) -> Option<EntryId> {
        let card = self.card.as_mut()?;
        let id = card.vanish();
        for (port, lost) in std::mem::take(&mut card.vanished) {
            let rule = RuleId(u32::from(port.0) - 10);
            *self.lost_by_rule.entry(rule).or_default() += lost;
            self.lost += lost;
        }
        id
    }

    pub(crate) fn kill_card(&mut self) {
        self.tell(Input::Card(Event::Dead(DeathCause::Heartbeat)));
        self.card = None;
    }

    pub(crate) fn rule_of_output(&self, port: PortNo) -> RuleId {
        RuleId(u32::from(port.0) - 10)
    }

    /// The rules by which a packet of that generation is decided.
    pub(crate) fn rules_at(&self, generation: Generation) -> (Generation, Rules) {
        self.next.filter(|(next, _)| *next <= generation).unwrap_or(self.current)
    }

    pub(crate) fn random_key(&mut self) -> Key {
        let port = self.random.below(PORTS.into()) + 1;
        let (ip, l4) = (self.random.below(6), self.random.below(6));
        Key::ZERO
            .with(Field::InPort, port.into())
            .with(Field::IpDst, ip.into())
            .with(Field::L4Dst, l4.into())
    }

    pub(crate) fn packet(&mut self, key: &Key) {
        let bytes = 60 + self.random.index(100);
        let verdict = self.card.as_mut().map_or(Verdict::Miss, |card| card.packet(key, bytes));
        match verdict {
            Verdict::Miss => self.software(key, bytes),
            Verdict::Held => {}
            Verdict::Forwarded(id) => {
                let entry = &self.card.as_ref().expect("it forwarded").entries[&id].entry;
                let rule = self.rule_of_output(entry.edit.outputs[0]);
                let generation = self.card.as_ref().expect("it forwarded").generation;
                let wanted = self.rules_at(generation).1[key.get(Field::InPort) as usize - 1];
                assert_eq!(rule, wanted, "the card decided by another generation's rules");
                self.count(rule, bytes);
            }
        }
        self.settle_holds();
    }

    fn count(&mut self, rule: RuleId, bytes: usize) {
        *self.by_rule.entry(rule).or_default() += Counts::one(bytes);
        self.all += Counts::one(bytes);
    }

    /// Packets that left hold queues.
    fn settle_holds(&mut self) {
        let Some(card) = self.card.as_mut() else { return };
        let (released, returned) =
            (std::mem::take(&mut card.released), std::mem::take(&mut card.returned));
        for (_, key, bytes) in released {
            let generation = self.card.as_ref().expect("just there").generation;
            let rule = self.rules_at(generation).1[key.get(Field::InPort) as usize - 1];
            self.count(rule, bytes);
        }
        for (key, bytes) in returned {
            self.software(&key, bytes);
        }
    }

    fn software(&mut self, key: &Key, bytes: usize) {
        let asked = self.card.as_ref().map_or(self.current.0, |card| card.generation);
        let (generation, rules) = self.rules_at(asked);
        if let Some(card) = self.card.as_mut() {
            card.delivered += 1;
        }
        let rule = rules[key.get(Field::InPort) as usize - 1];
        self.count(rule, bytes);
        let serves = |f: &SoftFlow| {
            f.from <= generation
                && f.until.is_none_or(|until| generation < until)
                && f.flow.matching.matches(key)
        };
        let found = self.soft.iter_mut().find(|(_, f)| serves(f));
        let hit = found.map(|(id, flow)| {
            flow.counts += Counts::one(bytes);
            flow.last_used = self.now;
            flow.dirty = true;
            assert_eq!(flow.flow.rules, [rule]);
            *id
        });
        match hit {
            Some(id) if self.random.once_in(2) => self.tell(Input::Hit { id, key: *key }),
            Some(_) => {}
            None => self.make_flow(key, generation, rule, bytes),
        }
    }

    fn make_flow(&mut self, key: &Key, from: Generation, rule: RuleId, bytes: usize) {
        let mut mask = Key::ZERO.with(Field::InPort, 0xffff);
        match self.random.below(5) {
            0 => {}
            1 => mask.set(Field::IpDst, u128::MAX),
            2 => mask.set(Field::L4Dst, 0xffff),
            3 => mask.set(Field::Qfi, 0xff),
            _ => {
                mask.set(Field::IpDst, u128::MAX);
                mask.set(Field::L4Dst, 0xffff);
            }
        }
        let flow = Arc::new(Flow {
            matching: MaskedKey::new(key, mask),
            steps: vec![Step::Output(output_of(rule))],
            ttl_threshold: None,
            rules: vec![rule],
        });
        self.next_slot += 1;
        let id = FlowId { index: self.next_slot, generation: 0 };
        let newest = self.next.filter(|(g, _)| *g > from);
        let port = key.get(Field::InPort) as usize - 1;
        let until = newest.filter(|(_, rules)| rules[port] != rule).map(|(g, _)| g);
        let made = SoftFlow {
            flow: Arc::clone(&flow),
            from,
            until,
            counts: Counts::one(bytes),
            last_used: self.now,
            dirty: true,
        };
        self.soft.insert(id, made);
        self.tell(Input::FlowMade { id, flow, key: *key, from, until });
    }

    /// Changes the rule of one port.
    pub(crate) fn change_rule(&mut self) {
        if self.next.is_some() || self.next_rule > 1500 {
            return;
        }
        let port = self.random.index(PORTS.into());
        let (Generation(old), mut rules) = self.current;
        let ended = rules[port];
        rules[port] = RuleId(self.next_rule);
        self.next_rule += 1;
        let generation = Generation(old + 1);
        let mut stale = Vec::new();
        for (id, flow) in &mut self.soft {
            if flow.flow.rules == [ended] && flow.until.is_none() {
                flow.until = Some(generation);
                stale.push(*id);
            }
        }
        self.next = Some((generation, rules));
        let pipeline = pipeline(&rules, 0, 0);
        self.tell(Input::PipelineChange { generation, pipeline, stale });
    }

    /// Lets the card work and answer a little.
    pub(crate) fn work(&mut self, count: u64) {
        let Some(card) = self.card.as_mut() else { return };
        card.work(count, &mut self.random);
        // Before the answers: one of them may end the card, and what it released has left it.
        self.settle_holds();
        for _ in 0..count {
            let Some(event) = self.card.as_mut().and_then(|c| c.answer(&mut self.random)) else {
                break;
            };
            self.tell(Input::Card(event));
        }
    }

    /// Software has sent everything it was given.
    pub(crate) fn send_fence(&mut self) {
        let mut fence = Fence::default();
        let Some(card) = self.card.as_mut() else { return };
        fence.delivered[0] = card.delivered;
        card.processed = card.delivered;
        self.tell(Input::Fence(fence));
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.tick();
    }

    pub(crate) fn tick(&mut self) {
        if self.engine.next_timeout().is_some_and(|due| due <= self.now) {
            self.tell(Input::Timeout);
        }
    }

    /// Lets everything under way end.
    pub(crate) fn quiesce(&mut self) {
        for _ in 0..2000 {
            self.work(64);
            self.send_fence();
            if self.card.as_ref().is_none_or(ModelCard::is_idle) {
                break;
            }
        }
        self.report();
        if self.card.is_some() {
            self.sweep();
        }
        for _ in 0..2000 {
            self.work(64);
            self.send_fence();
            if self.card.as_ref().is_none_or(ModelCard::is_idle) {
                return;
            }
        }
        panic!("operations do not end");
    }
}

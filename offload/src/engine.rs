//! The engine: holds the parts together, takes inputs apart, hands out outputs.

use crate::arrivals::Arrivals;
use crate::budget::Budget;
use crate::change::Change;
use crate::count::Sweeping;
use crate::event::EngineEvent;
use crate::flows::{FlowIndex, FlowRecord, FlowTable, Stage};
use crate::io::{Input, Output, RemoveCause};
use crate::ledger::Ledger;
use crate::reasons::Reasons;
use crate::reconcile::Reconcile;
use crate::round::Rounds;
use crate::rule_book::RuleBook;
use crate::table::Spot;
use crate::tally::Tallies;
use crate::verdicts::Verdicts;
use crate::verify::Shadow;
use crate::view::Settings;
use crate::wanting::Wanting;
use crate::wheel::Wheel;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{EntryId, Fence, FlowOp, Generation, TableId};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::{Key, Line};
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;

/// An operation without an answer for so long means a reset; drivers have shorter deadlines.
pub(crate) const OP_DEADLINE: Duration = Duration::from_secs(5);

/// A held entry whose earlier packets software has not sent by then is taken out again.
pub(crate) const HOLD_DEADLINE: Duration = Duration::from_millis(100);

/// Flows that want places offered at one [`Input::Timeout`] at most, so that none takes long.
const OFFERS_AT_ONCE: usize = 32;

/// By table: flows (or packets of theirs) that wait for an evicted entry to leave.
pub(crate) type Vacancies = BTreeMap<TableId, VecDeque<(FlowIndex, Option<Key>)>>;

/// The brain, sans-I/O.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    /// Time of the input being handled.
    pub(crate) now: Time,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) flows: FlowTable,
    pub(crate) rules: RuleBook,
    pub(crate) tallies: Tallies,
    pub(crate) verdicts: Verdicts,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) current: Generation,
    pub(crate) change: Option<Change>,
    pub(crate) ledger: Option<Ledger>,
    /// Whether a card was ever up, so that its absence means that it is down.
    pub(crate) had_card: bool,
    pub(crate) next_tag: u64,
    /// Entries that hold packets, in the order in which they were added.
    pub(crate) held: VecDeque<(EntryId, Arc<Fence>, Time)>,
    /// How far software has processed what the card delivered.
    pub(crate) processed: Fence,
    /// Packets of flows, those of gone ones included.
    pub(crate) card: Counts,
    pub(crate) software: Counts,
    /// Of `software`, packets by why they were not in the card.
    pub(crate) reasons: Reasons,
    pub(crate) shadow: Shadow,
    pub(crate) reconcile: Reconcile,
    /// Of `card`, packets of flows that send nowhere.
    pub(crate) card_dropped: Counts,
    pub(crate) card_unknown: bool,
    /// Packets that may have been overtaken at most.
    pub(crate) overtaken_max: u64,
    pub(crate) gap: Option<(Time, Time)>,
    /// The sweep that is being given.
    pub(crate) sweeping: Option<Sweeping>,
    pub(crate) rounds: Rounds,
    pub(crate) wanting: Wanting,
    /// Packets per round that want each mask, of flows for which no bank has one.
    pub(crate) demand: BTreeMap<Line, u64>,
    /// Heat of the flows that found no bank this round.
    pub(crate) homeless: u64,
    /// Flows that were just made and are not offered yet.
    pub(crate) arrivals: Arrivals,
    /// Who gets the places that evicted entries leave.
    pub(crate) vacancies: Vacancies,
    /// Memory for the places of the next flow that is looked at.
    pub(crate) spare: Vec<Spot>,
    pub(crate) budget: Budget,
    /// Flows with the generation of their ids.
    pub(crate) idle: Wheel<(FlowIndex, u32)>,
}

impl Engine {
    /// An engine without flows or card; `pipeline` is in force as generation 0.
    #[must_use]
    pub fn new(settings: Settings, pipeline: Arc<Pipeline>, now: Time) -> Self {
        let mut rules = RuleBook::default();
        rules.add(&pipeline, now);
        rules.keep(&pipeline);
        Self {
            now,
            outputs: VecDeque::new(),
            flows: FlowTable::default(),
            rules,
            tallies: Tallies::default(),
            verdicts: Verdicts::default(),
            pipeline,
            current: Generation(0),
            change: None,
            ledger: None,
            had_card: false,
            next_tag: 1,
            held: VecDeque::new(),
            processed: Fence::default(),
            card: Counts::default(),
            software: Counts::default(),
            reasons: Reasons::default(),
            shadow: Shadow::new(settings.shadow_per_second),
            reconcile: Reconcile::new(now),
            card_dropped: Counts::default(),
            card_unknown: false,
            overtaken_max: 0,
            gap: None,
            sweeping: None,
            rounds: Rounds::new(now),
            wanting: Wanting::default(),
            demand: BTreeMap::new(),
            homeless: 0,
            arrivals: Arrivals::default(),
            vacancies: Vacancies::new(),
            spare: Vec::new(),
            budget: Budget::new(&settings, now),
            idle: Wheel::default(),
            settings,
        }
    }

    /// Takes one input. Follow with [`Self::poll_output`] until `None`.
    ///
    /// `now` never goes back; an earlier one is taken for the latest.
    pub fn handle(&mut self, now: Time, input: Input) {
        if !matches!(input, Input::FlowMade { .. }) {
            self.place_arrivals();
        }
        self.now = self.now.max(now);
        let has_time = matches!(input, Input::Timeout);
        match input {
            Input::FlowMade { id, flow, key, from, until } => {
                if self.flows.find(id).is_some() {
                    self.tell(EngineEvent::UnexpectedFlow { flow: id });
                } else {
                    let tally = self.tallies.join(&flow.rules, flow.is_drop());
                    let record = FlowRecord::new(id, flow, from, tally, self.now);
                    self.flow_made(record, &key, until);
                }
            }
            Input::Hit { id, key } => self.hit(id, &key),
            Input::SoftwareCounts { id, counts, last_used } => {
                self.software_counts(id, counts, last_used);
            }
            Input::SoftwareReported => self.rounds.software_done = true,
            Input::FlowGone { id, counts, last_used } => self.flow_gone(id, counts, last_used),
            Input::ExceptionCounts { rule, counts } => {
                if let Some(record) = self.rules.get_mut(rule) {
                    record.software += counts;
                    record.used(self.now);
                }
            }
            Input::CardUp { capabilities, epoch, generation } => {
                self.card_up(capabilities, epoch, generation);
            }
            Input::CardWithdrawn => self.withdraw(),
            Input::CardAdopted(adoption) => self.card_adopted(*adoption),
            Input::Card(event) => self.card_event(event),
            Input::Swept(sweep) => self.swept(sweep),
            Input::SweepFailed => {
                self.sweeping = None;
                self.rounds.card_done = true;
            }
            Input::Mirrored(sample) => self.mirrored(sample),
            Input::Fence(fence) => self.fence(&fence),
            Input::PipelineChange { generation, pipeline, stale } => {
                self.pipeline_change(generation, pipeline, &stale);
            }
            Input::HostTime(spent) => return self.budget.spend_host_time(self.now, spent),
            Input::Timeout => {}
        }
        self.run_due();
        if has_time {
            self.use_time();
        }
    }

    /// What is due, whatever was told.
    fn run_due(&mut self) {
        self.expire_holds();
        self.expire_operations();
        self.advance_change();
        self.run_round();
    }

    /// The next part of what would take long: nothing else is waiting. Not done with other inputs,
    /// so that a burst of packets or answers waits for none of it.
    fn use_time(&mut self) {
        self.end_flows();
        self.judge_samples();
        self.place_wanting(OFFERS_AT_ONCE);
    }

    /// Looks at flows whose counts come next, some dozens at most: their memory comes side by side,
    /// and nothing changes.
    pub fn look_ahead(&self, ids: impl Iterator<Item = FlowId> + Clone) {
        self.flows.touch(self.flows.places(ids));
    }

    /// The same for flows of which packets come next.
    pub fn look_ahead_at_hits(&self, ids: impl Iterator<Item = FlowId> + Clone) {
        self.flows.touch_whole(self.flows.places(ids));
    }

    /// The next thing to do, `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.place_arrivals();
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let window = self.settings.ops_in_flight;
        self.ledger.as_mut()?.hand_out(self.now, window).map(Output::Card)
    }

    /// Takes an operation back that the driver has accepted: its memory serves the next one.
    pub fn give_back(&mut self, op: FlowOp) {
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.give_back(op);
        }
    }

    /// When [`Input::Timeout`] is due at the latest; `None` when only inputs can bring something.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let hold = self.held.front().map(|(_, _, since)| since.after(HOLD_DEADLINE));
        let operation = self.ledger.as_ref().and_then(Ledger::oldest);
        let operation = operation.map(|since| since.after(OP_DEADLINE));
        let aging = self.rounds.aging.map(|_| self.now);
        [hold, operation, aging, self.next_round(), self.next_offer(), self.shadow.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Puts an event on the outputs.
    pub(crate) fn tell(&mut self, event: EngineEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn flow_made(&mut self, record: FlowRecord, key: &Key, until: Option<Generation>) {
        let (id, now) = (record.id, self.now);
        let tally = record.tally;
        let index = self.flows.insert(record);
        self.idle.insert(now.after(self.settings.flow_idle), (index, id.generation));
        if let Some(until) = until {
            if until <= self.current {
                self.remove_flow(index, RemoveCause::Stale);
                return;
            }
            self.make_stale(index, until);
            return;
        }
        for rule in self.tallies.rules(tally).iter() {
            if let Some(rule) = self.rules.get_mut(*rule) {
                rule.used(now);
            }
        }
        self.arrive(index, key);
    }

    fn hit(&mut self, id: FlowId, key: &Key) {
        match self.flows.find(id) {
            Some(index) => self.packet_seen(index, key),
            None => self.tell(EngineEvent::UnexpectedFlow { flow: id }),
        }
    }

    fn software_counts(&mut self, id: FlowId, counts: Counts, last_used: Option<Time>) {
        match self.flows.find(id) {
            Some(index) => self.credit_software(index, counts, last_used),
            None => self.tell(EngineEvent::UnexpectedFlow { flow: id }),
        }
    }

    fn flow_gone(&mut self, id: FlowId, counts: Counts, last_used: Option<Time>) {
        let Some(index) = self.flows.find(id) else {
            self.tell(EngineEvent::UnexpectedFlow { flow: id });
            return;
        };
        self.credit_software(index, counts, last_used);
        if let Some(record) = self.flows.get_mut(index) {
            record.stage = Stage::Departed;
        }
        self.doom_entries(index, crate::ledger::Doom::Now);
        self.drop_if_done(index);
    }

    /// Forgets a departed flow without entries.
    pub(crate) fn drop_if_done(&mut self, index: FlowIndex) {
        let done =
            |record: &FlowRecord| record.stage == Stage::Departed && record.entries().is_empty();
        if self.flows.get(index).is_some_and(done)
            && let Some(record) = self.flows.remove(index)
        {
            self.tallies.leave(record.tally);
        }
    }

    /// Tells the software path to drop a flow.
    pub(crate) fn remove_flow(&mut self, index: FlowIndex, cause: RemoveCause) {
        if let Some(record) = self.flows.get_mut(index) {
            record.stage = Stage::Removing;
            let id = record.id;
            self.outputs.push_back(Output::RemoveFlow { id, cause });
        }
    }
}

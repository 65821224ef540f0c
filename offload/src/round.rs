//! Rounds: fresh counters from both paths, then everything that is decided on them.

use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::flows::{FlowRecord, Stage};
use crate::io::{Output, RemoveCause};
use std::time::Duration;
use twinpath_flow::time::Time;

/// A round does without counters that have not come by then.
const ROUND_WAIT: Duration = Duration::from_millis(200);

/// Something idle is not ended on old counters until so long after its time.
const PATIENCE: Duration = Duration::from_millis(700);

/// Time a round takes at least per entry swept and flow reported, so that rounds leave most of a
/// core to the rest, however many there are.
const NANOS_PER_ITEM: u64 = 100;

/// Flows looked at for their age at one [`crate::Input::Timeout`] at most, so that a million that end at
/// once stop nothing.
const AGED_AT_ONCE: usize = 32;

/// Packets that a sampled one can stand for at most.
const SAMPLE_WEIGHT_MAX: u64 = 64;

/// State of the rounds.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) number: u32,
    /// When the next may start.
    next: Time,
    /// When counters were asked for, while they are awaited.
    asked: Option<Time>,
    pub(crate) software_done: bool,
    pub(crate) card_done: bool,
    /// All that the card had counted by then is known.
    pub(crate) last_sweep: Time,
    /// Idle flows due by the first time are being ended, on counters of all packets before the
    /// second.
    pub(crate) aging: Option<(Time, Time)>,
    /// Round before which no bank is drained.
    pub(crate) next_drain: u32,
    /// Flows that software reported this round.
    pub(crate) items: u64,
    /// Packets in software this round, as reported, and those of them that were sampled.
    pub(crate) software_packets: u64,
    pub(crate) sampled_packets: u64,
    /// Packets that one sampled packet of the last round stood for.
    pub(crate) sample_weight: u64,
}

impl Rounds {
    pub(crate) const fn new(now: Time) -> Self {
        Self {
            number: 0,
            next: now,
            asked: None,
            software_done: false,
            card_done: false,
            last_sweep: now,
            aging: None,
            next_drain: 0,
            items: 0,
            software_packets: 0,
            sampled_packets: 0,
            sample_weight: 1,
        }
    }
}

impl Rounds {
    /// Learns what a sampled packet stands for.
    fn weigh_samples(&mut self) {
        let weight = self.software_packets.checked_div(self.sampled_packets);
        self.sample_weight = weight.unwrap_or(1).clamp(1, SAMPLE_WEIGHT_MAX);
        self.software_packets = 0;
        self.sampled_packets = 0;
    }
}

impl Engine {
    /// When a round is to start or to end without its counters.
    pub(crate) fn next_round(&self) -> Option<Time> {
        if let Some(asked) = self.rounds.asked {
            return Some(asked.after(ROUND_WAIT));
        }
        // A card without flows is read back too: it may hold what nobody put there.
        if self.flows.len() > 0 || self.can_read_back() {
            return Some(self.rounds.next);
        }
        self.rules.first_end().map(|end| end.max(self.rounds.next))
    }

    /// Starts or ends a round if that is due.
    pub(crate) fn run_round(&mut self) {
        let due = self.next_round().is_some_and(|time| self.now >= time);
        match self.rounds.asked {
            None if due => self.start_round(),
            Some(asked) if due || (self.rounds.software_done && self.rounds.card_done) => {
                self.finish_round(asked);
            }
            _ => {}
        }
    }

    fn card_counts(&self) -> bool {
        let counts = |ledger: &crate::ledger::Ledger| {
            ledger.capabilities.counters && !ledger.entries.is_empty()
        };
        self.ledger.as_ref().is_some_and(counts)
    }

    fn start_round(&mut self) {
        self.rounds.asked = Some(self.now);
        self.rounds.software_done = false;
        self.outputs.push_back(Output::SoftwareCountsWanted);
        self.rounds.card_done = !self.card_counts();
        if !self.rounds.card_done {
            self.outputs.push_back(Output::SweepWanted);
        }
    }

    fn finish_round(&mut self, asked: Time) {
        self.rounds.asked = None;
        let items = self.rounds.items + self.ledger.as_ref().map_or(0, |l| l.entries.len() as u64);
        let pace = Duration::from_nanos(items.saturating_mul(NANOS_PER_ITEM));
        self.rounds.items = 0;
        self.rounds.next = asked.after(self.settings.sweep_interval.max(pace)).max(self.now);
        let fresh = match (self.rounds.software_done, self.card_counts()) {
            (false, _) => Time(0),
            (true, true) => self.rounds.last_sweep.min(asked),
            (true, false) => asked,
        };
        self.end_rules(fresh);
        self.rounds.aging = Some((self.now, fresh));
        self.rounds.weigh_samples();
        self.rounds.number += 1;
        self.rebalance();
        self.inspect_some();
    }

    fn end_rules(&mut self, fresh: Time) {
        let ended = self.rules.take_ended(self.now, fresh, PATIENCE);
        for (rule, cause) in &ended {
            let Some(record) = self.rules.get(*rule) else { continue };
            let (rule, cause, counts) = (*rule, *cause, record.card + record.software);
            self.tell(EngineEvent::RuleExpired { rule, cause, counts });
        }
        if !ended.is_empty() {
            self.outputs.push_back(Output::RulesExpired(ended));
        }
    }

    /// Ends some of the flows that were idle at the last round. Only flows that are due are looked
    /// at, and each as often as its idle time passes.
    pub(crate) fn end_flows(&mut self) {
        let Some((due, fresh)) = self.rounds.aging else { return };
        let mut old = [None; AGED_AT_ONCE];
        for place in &mut old {
            *place = self.idle.pop_due(due);
        }
        if old[AGED_AT_ONCE - 1].is_none() {
            self.rounds.aging = None;
        }
        self.flows.touch_whole(old.iter().flatten().map(|(index, _)| *index));
        for (index, generation) in old.into_iter().flatten() {
            let is_same = |record: &&FlowRecord| record.id.generation == generation;
            let Some(record) = self.flows.get(index).filter(is_same) else { continue };
            let end = self.idle_end(record);
            if end > self.now {
                self.idle.insert(end, (index, generation));
            } else if fresh < end && self.now < end.after(PATIENCE) {
                self.idle.insert(self.now, (index, generation));
            } else if record.stage == Stage::Live {
                self.remove_flow(index, RemoveCause::Idle);
            }
        }
    }
}

//! Judging samples of what the card forwarded, within a budget.
//!
//! A burst of new entries brings a burst of samples. They wait for their turn
//! ([`crate::Settings::shadow_per_second`]); when many wait, only the first frames of entries are kept,
//! since a wrong entry shows there and may have no second frame soon.

use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::io::Output;
use crate::ledger::Doom;
use crate::sampled::Sampled;
use crate::shadow::{Divergence, Finding, Sample, ShadowTotals, judge_frames};
use crate::why::WhyNot;
use std::collections::VecDeque;
use std::time::Duration;
use twinpath_flow::card::{EntryId, MirrorOrder};
use twinpath_flow::counters::Counts;
use twinpath_flow::parse::parse;
use twinpath_flow::time::Time;

/// Samples that wait at most; with frames of 64 bytes about 5 MB.
const WAITING_MAX: usize = 16_384;

/// Where only first frames are still taken.
const CROWDED: usize = WAITING_MAX / 4;

/// How often waiting samples are judged at most.
const INTERVAL: Duration = Duration::from_millis(10);

/// What the engine remembers of samples.
#[derive(Debug)]
pub(crate) struct Shadow {
    /// Samples judged in a second at most.
    per_second: u32,
    totals: ShadowTotals,
    sampled: Sampled,
    /// Samples to judge, each with what its entry should have counted if that is known.
    waiting: VecDeque<(Box<Sample>, Option<Counts>)>,
    /// When samples were judged last.
    judged: Time,
}

impl Shadow {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            totals: ShadowTotals::default(),
            sampled: Sampled::new(),
            waiting: VecDeque::new(),
            judged: Time::default(),
        }
    }

    /// Another card, or the same one anew: numbers of samples begin anew, and identities of entries
    /// too, so that samples that wait would be taken for those of others.
    pub(crate) fn forget(&mut self) {
        self.sampled.clear();
        self.totals.skipped += self.totals.waiting;
        self.totals.waiting = 0;
        self.waiting.clear();
    }

    /// What was done so far.
    pub(crate) const fn totals(&self) -> ShadowTotals {
        self.totals
    }

    /// Puts a sample behind the others, or skips it.
    fn take(&mut self, sample: Box<Sample>) {
        let expected = self.expected_counts(&sample);
        self.sampled.note(&sample);
        let room = match sample.order {
            _ if self.per_second == 0 => 0,
            MirrorOrder::First => WAITING_MAX,
            MirrorOrder::Successor | MirrorOrder::Sampled => CROWDED,
        };
        if self.waiting.len() < room {
            self.waiting.push_back((sample, expected));
            self.totals.waiting += 1;
        } else {
            self.totals.skipped += 1;
        }
    }

    /// When waiting samples are due.
    pub(crate) fn due(&self) -> Option<Time> {
        (!self.waiting.is_empty()).then(|| self.judged.after(self.interval()))
    }

    /// Time between two lots; one sample is due in it at least.
    fn interval(&self) -> Duration {
        INTERVAL.max(Duration::from_secs(1) / self.per_second.max(1))
    }

    /// How many samples may be judged now; the time since the last ones is then used up.
    fn allowance(&mut self, now: Time) -> u128 {
        if self.due().is_none_or(|due| now < due) {
            return 0;
        }
        // Time in which none waited is not saved up.
        let passed = now.since(self.judged).min(2 * self.interval());
        self.judged = now;
        (passed.as_nanos() * u128::from(self.per_second)).div_ceil(1_000_000_000)
    }

    fn next(&mut self) -> Option<(Box<Sample>, Option<Counts>)> {
        let next = self.waiting.pop_front()?;
        self.totals.waiting -= 1;
        Some(next)
    }

    /// What the entry should have counted; `None` when that is not known.
    fn expected_counts(&self, sample: &Sample) -> Option<Counts> {
        let one = Counts::one(sample.received.len());
        match sample.order {
            MirrorOrder::First => Some(one),
            MirrorOrder::Successor => self.sampled.before(sample).map(|last| last + one),
            MirrorOrder::Sampled => None,
        }
    }
}

impl Engine {
    /// What verification did so far.
    #[must_use]
    pub const fn shadow(&self) -> ShadowTotals {
        self.shadow.totals()
    }

    /// Whether there is a card that mirrors what it forwards; else it is unverifiable.
    #[must_use]
    pub fn can_mirror(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.capabilities.mirror)
    }

    /// Takes a sample, to be judged in its turn.
    pub(crate) fn mirrored(&mut self, sample: Box<Sample>) {
        self.shadow.take(sample);
    }

    /// Judges as many samples as the budget allows.
    pub(crate) fn judge_samples(&mut self) {
        for _ in 0..self.shadow.allowance(self.now) {
            let Some((sample, counts)) = self.shadow.next() else { return };
            self.judge(*sample, counts);
        }
    }

    /// Judges a sample, and takes its flow out of the card when it diverges.
    fn judge(&mut self, sample: Sample, counts: Option<Counts>) {
        let live = self.ledger.as_ref().is_some_and(|l| l.entries.get(&sample.entry).is_some());
        if sample.generation != self.current || !live {
            self.shadow.totals.skipped += 1;
            return;
        }
        self.shadow.totals.judged += 1;
        // Samples of other queues may have come meanwhile.
        let counts = counts.or_else(|| self.shadow.expected_counts(&sample));
        let counted = counts.filter(|expected| *expected != sample.counts);
        let divergence =
            judge_frames(&sample, &self.pipeline).or_else(|| self.judge_match(&sample)).or_else(
                || counted.map(|expected| Divergence::Counts { expected, got: sample.counts }),
            );
        if let Some(divergence) = divergence {
            self.shadow.totals.diverged += 1;
            self.quarantine(sample.entry);
            let flow = self.entry_flow(sample.entry);
            let told = format!("the card differs from the rules: {divergence}");
            self.tell(EngineEvent::Diverged { entry: sample.entry, flow, told });
            self.outputs.push_back(Output::Diverged(Box::new(Finding { sample, divergence })));
        }
    }

    /// Whether the packet is one of the flow whose entry decided it.
    fn judge_match(&self, sample: &Sample) -> Option<Divergence> {
        let entry = self.ledger.as_ref()?.entries.get(&sample.entry)?;
        let flow = &self.flows.get(entry.flow)?.flow;
        let parsed = parse(&sample.received, sample.port, &self.pipeline.ports);
        (!flow.matching.matches(&parsed.key)).then_some(Divergence::Match)
    }

    /// Takes the flow of an entry out of the card for good.
    fn quarantine(&mut self, entry: EntryId) {
        let flow = self.ledger.as_ref().and_then(|ledger| ledger.entries.get(&entry));
        let Some(index) = flow.map(|entry| entry.flow) else { return };
        let now = self.now;
        if let Some(record) = self.flows.get_mut(index)
            && !std::mem::replace(&mut record.quarantined, true)
        {
            record.explain(now, Some(WhyNot::Quarantined));
            self.shadow.totals.quarantined += 1;
        }
        self.doom_entries(index, Doom::Now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::card::Generation;
    use twinpath_flow::port::PortNo;

    fn sample(entry: u32, order: MirrorOrder) -> Box<Sample> {
        Box::new(Sample {
            number: 1,
            entry: EntryId(entry),
            port: PortNo(1),
            generation: Generation(0),
            received: vec![0; 60],
            sent: Vec::new(),
            order,
            counts: Counts { packets: 9, bytes: 540 },
        })
    }

    #[test]
    fn a_burst_waits_for_its_turn_and_first_frames_come_before_others() {
        let mut shadow = Shadow::new(1_000);
        for entry in 0..20_000 {
            shadow.take(sample(entry, MirrorOrder::First));
            shadow.take(sample(entry, MirrorOrder::Sampled));
        }
        let waiting: u64 = shadow.waiting.len().try_into().unwrap();
        assert_eq!(waiting, 16_384);
        assert_eq!(shadow.totals.waiting, waiting);
        assert_eq!(shadow.totals.skipped, 40_000 - waiting);
        let first = |(sample, _): &(Box<Sample>, _)| sample.order == MirrorOrder::First;
        assert_eq!(shadow.waiting.iter().filter(|one| !first(one)).count(), CROWDED / 2);
        let mut now = Time::default();
        let mut judged = 0;
        while now < Time::from_millis(2_000) {
            now = shadow.due().unwrap().max(now);
            let allowed = shadow.allowance(now);
            assert!((1..=20).contains(&allowed), "{allowed}");
            judged += (0..allowed).filter(|_| shadow.next().is_some()).count();
        }
        assert_eq!(judged, 2_000);
    }

    #[test]
    fn a_small_budget_is_kept_too_and_none_judges_nothing() {
        let mut shadow = Shadow::new(2);
        shadow.take(sample(1, MirrorOrder::First));
        assert_eq!(shadow.due(), Some(Time::from_millis(500)));
        assert_eq!(shadow.allowance(Time::from_millis(499)), 0);
        assert_eq!(shadow.allowance(Time::from_millis(500)), 1);
        let mut off = Shadow::new(0);
        off.take(sample(1, MirrorOrder::First));
        assert_eq!((off.due(), off.totals.skipped), (None, 1));
    }
}

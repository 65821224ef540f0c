//! Counters: what card and software report becomes totals that never go back.

use crate::engine::Engine;
use crate::event::{CounterFault, EngineEvent};
use crate::flows::FlowIndex;
use std::time::Duration;
use twinpath_flow::card::{CounterSink, EntryCounts, Sweep};
use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

/// Time added to a counter's interval before its rate is judged: bursts, and the card's clock.
const RATE_SLACK: Duration = Duration::from_millis(100);

/// Such times in a second.
const SLACKS_PER_SECOND: u64 = 10;

/// Shortest frame on a wire with preamble and gap, in bits; sets the most packets a second.
const FRAME_BITS_MIN: u64 = 84 * 8;

/// Preamble, gap and FCS of a frame, in bytes: on the wire but not counted.
const FRAME_OVERHEAD: u64 = 24;

/// Whether ports of `bits_per_second` can carry `delta` in a span, which is asked for only where it
/// matters: mostly there is so little that any would do. More than 64 bits of bits never are.
fn plausible(delta: Counts, span: impl FnOnce() -> Duration, bits_per_second: u64) -> bool {
    let Counts { packets, bytes } = delta;
    let bytes = packets.saturating_mul(FRAME_OVERHEAD).saturating_add(bytes);
    let wanted = packets.saturating_mul(FRAME_BITS_MIN).max(bytes.saturating_mul(8));
    let carries = || {
        let span = span() + RATE_SLACK;
        u128::from(wanted) <= u128::from(bits_per_second) * span.as_nanos() / 1_000_000_000
    };
    wanted <= bits_per_second / SLACKS_PER_SECOND || wanted < u64::MAX && carries()
}

impl Engine {
    /// Takes absolute counts of software.
    pub(crate) fn credit_software(
        &mut self,
        index: FlowIndex,
        counts: Counts,
        last_used: Option<Time>,
    ) {
        let round = self.rounds.number;
        let Some(record) = self.flows.get_mut(index) else { return };
        let Some(delta) = counts.since(record.software) else {
            let flow = record.id;
            self.tell(EngineEvent::UnexpectedFlow { flow });
            return;
        };
        record.software = counts;
        if delta.packets > 0 && record.is_exposed() {
            self.overtaken_max += delta.packets;
        }
        record.heat.add(round, delta.packets);
        let heat = record.heat.sure_at(round + 1);
        // Packets that software still had of a flow now in the card foretell the card's.
        let mut is_served = false;
        if let ([id], Some(ledger)) = (record.entries(), self.ledger.as_mut())
            && let Some(entry) = ledger.entries.get_mut(id).filter(|entry| entry.whole)
        {
            entry.heat.add(round, delta.packets);
            is_served = entry.stays();
        }
        let used = last_used.unwrap_or(record.last_used).min(self.now);
        record.last_used = record.last_used.max(used);
        self.reasons.charge(record.why_not, delta);
        self.software += delta;
        self.rounds.items += 1;
        self.rounds.software_packets += delta.packets;
        for rule in self.tallies.rules(record.tally).iter() {
            if let Some(rule) = self.rules.get_mut(*rule) {
                rule.software += delta;
                rule.used(used);
            }
        }
        if delta.packets > 0 && !is_served {
            self.wanting.note(heat, index);
        }
    }

    /// Takes absolute counts of an entry, true at `as_of`; rejects what cannot be. The rules have
    /// them when the tallies are settled.
    pub(crate) fn credit_card(&mut self, reading: &EntryCounts, as_of: Time) {
        let round = self.rounds.number;
        let Some(ledger) = self.ledger.as_mut() else { return };
        let sweeps = &ledger.sweeps;
        let Some(entry) = ledger.entries.get_mut(&reading.id) else { return };
        let fault = match reading.counts.since(entry.counts) {
            None => CounterFault::Backwards,
            Some(delta) => {
                let span = || {
                    let true_before = sweeps.time(entry.swept).max(entry.last_hit);
                    let staleness = Duration::from_nanos(ledger.capabilities.counter_staleness_ns);
                    as_of.since(true_before) + staleness
                };
                if plausible(delta, span, self.settings.line_rate_bps) {
                    entry.counts = reading.counts;
                    entry.swept = sweeps.number();
                    entry.heat.add(round, delta.packets);
                    let moved = (delta.packets > 0).then_some(as_of);
                    let used = reading.last_hit.or(moved).unwrap_or(entry.last_hit);
                    entry.last_hit = entry.last_hit.max(used.min(self.now));
                    self.card += delta;
                    self.tallies.add(entry.tally, delta, entry.last_hit);
                    return;
                }
                CounterFault::TooFast
            }
        };
        self.tell(EngineEvent::CounterRejected { entry: reading.id, fault });
    }

    /// Notes that packets of the flow will go through a card that does not count.
    pub(crate) fn mark_uncounted(&mut self, index: FlowIndex) {
        self.card_unknown = true;
        let Some(record) = self.flows.get_mut(index) else { return };
        record.card_unknown = true;
        for rule in self.tallies.rules(record.tally).iter() {
            if let Some(rule) = self.rules.get_mut(*rule) {
                rule.card_unknown = true;
            }
        }
    }

    /// Ends the sweep whose entries were given.
    pub(crate) fn swept(&mut self, sweep: Sweep) {
        let Some(sweeping) = self.sweeping.take() else { return };
        if sweeping.left == 0 {
            self.tell(EngineEvent::SweepOverrun);
        }
        self.card_dropped += self.tallies.settle(&mut self.rules);
        if sweep.complete {
            self.rounds.last_sweep = self.rounds.last_sweep.max(sweeping.as_of);
        }
        self.rounds.card_done = true;
    }

    /// Notes that what the card counted since its last sweep is lost.
    pub(crate) fn lose_counters(&mut self, from: Time) {
        let until = self.now;
        self.gap = Some((self.gap.map_or(from, |(first, _)| first.min(from)), until));
        self.tell(EngineEvent::CounterGap { from, until });
    }
}

/// A sweep that is being given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweeping {
    as_of: Time,
    /// Entries that may still change; more than there are would be nonsense.
    left: usize,
}

impl CounterSink for Engine {
    fn begin(&mut self, now: Time, sweep: &Sweep) {
        self.now = self.now.max(now);
        self.sweeping = None;
        let Some(ledger) = self.ledger.as_mut() else { return };
        if sweep.epoch != ledger.epoch {
            let (found, wanted) = (sweep.epoch, ledger.epoch);
            self.tell(EngineEvent::StaleSweep { found, wanted });
            return;
        }
        // What the card says of the time is as little trusted as what it says of counts.
        let as_of = sweep.as_of.min(self.now);
        ledger.sweeps.begin(as_of);
        self.sweeping = Some(Sweeping { as_of, left: ledger.entries.len() + 1 });
    }

    /// Takes one entry. Unchanged counts need no more than a look at its line.
    fn entry(&mut self, counts: &EntryCounts) {
        let (Some(ledger), Some(sweeping)) = (self.ledger.as_mut(), self.sweeping.as_mut()) else {
            return;
        };
        let number = ledger.sweeps.number();
        let Some(entry) = ledger.entries.get_mut(&counts.id) else { return };
        if entry.counts == counts.counts {
            entry.swept = number;
        } else if sweeping.left > 1 {
            sweeping.left -= 1;
            let as_of = sweeping.as_of;
            self.credit_card(counts, as_of);
        } else {
            sweeping.left = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_above_line_rate_times_time_is_implausible() {
        let rate = 1_000_000_000;
        let second = || Duration::from_secs(1);
        let frames = |packets, bytes| Counts { packets, bytes };
        assert!(plausible(frames(1_000_000, 60_000_000), second, rate));
        assert!(!plausible(frames(2_000_000, 0), second, rate));
        assert!(!plausible(frames(1, 200_000_000), second, rate));
        assert!(!plausible(frames(u64::MAX, u64::MAX), second, rate));
    }
}

//! What holds after each step, and what holds when nothing is under way.

use super::World;
use super::failure::{Failure, Wrong};
use super::oracle::{Account, Order};
use crate::readings::hex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use twinpath_cli::run::forwarder::Fates;
use twinpath_cli::run::keeper::FlowKeeper as _;
use twinpath_flow::card::Refusal;
use twinpath_flow::counters::Counts;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;
use twinpath_hw_sim::fault::{Class, Fired};
use twinpath_offload::shadow::{Divergence, Finding};
use twinpath_offload::view::{EntryState, Place};

/// A packet that must send something has done so by then, or is lost.
const INSIDE_MAX: Duration = Duration::from_millis(20);

/// Everything under way has ended by then when no more comes.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// How old the card's counters are at most.
const STALE_MAX: Duration = Duration::from_millis(800);

/// What was seen of counters so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By rule, at the last step.
    rules: BTreeMap<RuleId, Counts>,
    /// By flow, at the last look.
    flows: BTreeMap<FlowId, Counts>,
    /// By rule, at the last look.
    settled: BTreeMap<RuleId, Counts>,
    fates: Sums,
    card: u64,
    packets: u64,
    copies: u64,
    /// Since when the card has had entries.
    filled: Time,
    /// How often each class of faults had struck by the last look.
    pub(super) fired: Option<Fired>,
}

/// Sums at the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    card: u64,
    software: u64,
    lost: u64,
    dropped: u64,
    flows_card: u64,
    flows_software: u64,
    alone: u64,
}

impl Sums {
    /// By card, by software, lost, dropped; `None` when one of them went back.
    fn since(&self, before: &Self) -> Option<[u64; 4]> {
        Some([
            self.card.checked_sub(before.card)?,
            self.software.checked_sub(before.software)?,
            self.lost.checked_sub(before.lost)?,
            self.dropped.checked_sub(before.dropped)?,
        ])
    }
}

impl World {
    /// What holds after every step.
    pub(super) fn check_step(&mut self) -> Result<(), Failure> {
        for view in self.brain.engine.rules() {
            let Some(total) = view.counts.total() else { continue };
            let before = self.seen.rules.insert(view.id, total).unwrap_or_default();
            if total.since(before).is_none() {
                let told = format!("rule {} went from {before:?} to {total:?}", view.id.0);
                return Err(Wrong::Counters.because(told));
            }
            let settled = self.seen.settled.get(&view.id).map_or(0, |counts| counts.packets);
            let (grown, most) = (total.packets - settled, self.oracle.possible(view.id));
            if grown > most {
                let told = format!(
                    "rule {} counted {grown} packets since the last look, {most} may have met it: {:?}",
                    view.id.0, view.counts
                );
                return Err(Wrong::Counters.because(told));
            }
        }
        for table in self.brain.engine.tables() {
            if table.used > table.capacity {
                let told = format!(
                    "table {} has {} entries of {}",
                    table.name, table.used, table.capacity
                );
                return Err(Wrong::Ledger.because(told));
            }
        }
        self.check_freshness()?;
        let late = |since| self.now.since(since) > INSIDE_MAX;
        if self.trouble.was_on {
            return Ok(());
        }
        if let Some(journey) = self.oracle.oldest().filter(|journey| late(journey.since)) {
            let fates = self.fates();
            let lost: u64 = fates.lost.iter().map(|(_, count)| count).sum();
            // Those that were lost are waited for too, until the next look.
            let awaited = self.oracle.awaited(late);
            if fates.held > 0 && awaited > lost - self.seen.fates.lost {
                let told = format!(
                    "packet {} of port {} is inside since {:?}, now {:?}: {}; next event {:?}, {:?}",
                    journey.number,
                    journey.port.0,
                    journey.since,
                    self.now,
                    hex(&journey.frame),
                    self.next_due(),
                    self.fates(),
                );
                return Err(Wrong::Stuck.because(told));
            }
        }
        Ok(())
    }

    /// Counters are read again and again while the card is well.
    fn check_freshness(&mut self) -> Result<(), Failure> {
        let totals = self.brain.engine.totals();
        if totals.entries == 0 || self.trouble.was_on {
            // Nothing to read, thus nothing is read.
            self.seen.filled = self.now;
        }
        let age = |as_of: Time| self.now.since(as_of.max(self.seen.filled));
        match totals.flows.card.filter(|counted| age(counted.as_of) > STALE_MAX) {
            Some(counted) => {
                let told = format!("at {:?} the card's are of {:?}", self.now, counted.as_of);
                Err(Wrong::Counters.because(told))
            }
            None => Ok(()),
        }
    }

    fn fates(&self) -> Fates {
        self.card.fates(self.deeds.packets)
    }

    /// Lets everything under way end.
    fn quiesce(&mut self) -> Result<(), Failure> {
        let deadline = self.now.after(QUIET_MAX);
        // Ends: each round moves time on, towards the deadline.
        while !self.is_quiet() {
            if self.now >= deadline {
                let told = format!(
                    "after {QUIET_MAX:?}: change {}, operations {}, inside {}",
                    self.brain.is_changing(),
                    self.brain.engine.operations_under_way() + self.brain.operations.len(),
                    self.fates().held,
                );
                return Err(Wrong::Stuck.because(told));
            }
            self.now = self.next_due();
            self.advance()?;
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        self.card.is_idle()
            && !self.brain.is_changing()
            && self.brain.operations.is_empty()
            && self.brain.engine.operations_under_way() == 0
    }

    /// Looks at everything while nothing is under way.
    pub(super) fn look(&mut self) -> Result<(), Failure> {
        self.deeds.looks += 1;
        self.quiesce()?;
        self.card.software.report(self.now, None, &mut self.brain);
        self.brain.settle(self.now, Some(&mut self.card.software));
        self.now = self.card.sweep_all(self.now, &mut self.brain);
        self.advance()?;
        self.quiesce()?;
        let account =
            self.oracle.settle(if self.trouble.was_on { Order::Loose } else { Order::Strict })?;
        let excess = self.check_fates(&account)?;
        self.check_totals()?;
        self.check_rules(&account, excess)?;
        self.check_flows()?;
        self.check_ledger()?;
        self.check_findings()?;
        let most = self.brain.engine.overtaken_max().unwrap_or_default();
        if self.oracle.overtaken() > most {
            let told = format!("{} overtaken, told at most {most}", self.oracle.overtaken());
            return Err(Wrong::Reordered.because(told));
        }
        let alive: BTreeSet<u64> = self.streams.iter().map(|stream| stream.number).collect();
        self.oracle.keep_streams(|stream| alive.contains(&stream));
        if self.trouble.was_on && !self.trouble.is_on {
            self.trouble.was_on = false;
            self.trouble.well_since = self.now;
        }
        self.trouble.is_loose = false;
        Ok(())
    }

    /// Every packet was decided or lost, and what is missing was counted. How many were lost that the
    /// rules do not lose.
    fn check_fates(&mut self, account: &Account) -> Result<u64, Failure> {
        let fates = self.fates();
        let packets = self.deeds.packets - self.seen.packets;
        let sums = Sums {
            card: fates.card.unwrap_or_default(),
            software: fates.software,
            lost: fates.lost.iter().map(|(_, count)| count).sum(),
            dropped: (0..self.make.ports.physical().count())
                .map(|index| self.card.send_dropped(index))
                .sum(),
            ..self.seen.fates
        };
        let before = self.seen.fates;
        let Some([card, software, lost, dropped]) = sums.since(&before) else {
            return Err(Wrong::Counters.because(format!("from {before:?} to {sums:?}")));
        };
        self.deeds.by_card += card;
        self.deeds.lost += lost;
        if card + software + lost != packets {
            let told = format!(
                "{packets} packets, but {card} by card + {software} by software + {lost} lost {:?}",
                fates.lost
            );
            return Err(Wrong::Counters.because(told));
        }
        (self.seen.fates, self.seen.packets) = (sums, self.deeds.packets);
        if lost < account.refused.least {
            let told = format!("{lost} lost, but the rules refuse {:?}", account.refused);
            return Err(Wrong::Counters.because(told));
        }
        // Of packets that may or may not be refused nothing is known.
        let excess = lost - account.refused.least + account.vague;
        let mut vanished = account.vanished.clone();
        vanished.sort_unstable_by(|one, other| other.cmp(one));
        let taken = usize::try_from(excess).unwrap_or(usize::MAX);
        let unexplained: usize = vanished.iter().skip(taken).sum::<usize>() + account.missing;
        let dropped = usize::try_from(dropped.saturating_sub(account.undeliverable.least))
            .unwrap_or(usize::MAX);
        // A card that is reset forgets what was about to leave its ports, and cannot say how much.
        if unexplained > dropped && !self.trouble.was_on {
            let told = format!(
                "{unexplained} frames miss ({} packets without any), {dropped} are counted as \
                 dropped at ports, packets lost: {:?}",
                vanished.len(),
                fates.lost
            );
            return Err(Wrong::Lost.because(told));
        }
        Ok(excess)
    }

    /// Sums of flows are what card and software counted.
    fn check_totals(&mut self) -> Result<(), Failure> {
        let totals = self.brain.engine.totals();
        let path = self.card.software.path.totals();
        let sums = Sums {
            flows_card: totals.flows.card.map_or(0, |counted| counted.counts.packets),
            flows_software: totals.flows.software.counts.packets,
            alone: path.exceptions + path.flow_limit,
            ..self.seen.fates
        };
        if sums.flows_software + sums.alone != sums.software {
            let told = format!(
                "software decided {}, its flows count {}, {} packets had none",
                sums.software, sums.flows_software, sums.alone
            );
            return Err(Wrong::Counters.because(told));
        }
        let (before, is_exact) = (self.seen.fates, self.is_exact());
        let (flows, card) = (sums.flows_card - before.flows_card, sums.card - self.seen.card);
        self.seen.card = sums.card;
        if flows > card || (is_exact && flows != card) {
            let told =
                format!("the card decided {card} since the last look, its flows count {flows}");
            return Err(Wrong::Counters.because(told));
        }
        self.seen.fates = sums;
        Ok(())
    }

    /// Whether all that was counted since the last look is known.
    const fn is_exact(&self) -> bool {
        !self.trouble.was_on
    }

    /// Each rule counted the packets that met it.
    fn check_rules(&mut self, account: &Account, excess: u64) -> Result<(), Failure> {
        let is_exact = excess == 0 && self.is_exact();
        let mut settled = BTreeMap::new();
        for view in self.brain.engine.rules() {
            let Some(total) = view.counts.total() else { continue };
            settled.insert(view.id, total);
            let before = self.seen.settled.get(&view.id).copied().unwrap_or_default();
            let wanted = account.rules.get(&view.id).copied().unwrap_or_default();
            let grown = total.since(before).unwrap_or_default();
            let least = if is_exact { wanted.least } else { Counts::default() };
            let fits = |value: u64, least: u64, most: u64| (least..=most).contains(&value);
            if !fits(grown.packets, least.packets, wanted.most.packets)
                || !fits(grown.bytes, least.bytes, wanted.most.bytes)
            {
                let told = format!(
                    "rule {} counted {grown:?} since the last look, packets say {wanted:?}; {:?}",
                    view.id.0, view.counts
                );
                return Err(Wrong::Counters.because(told));
            }
        }
        self.seen.settled = settled;
        let copies = self.brain.events.copy_count() - self.seen.copies;
        self.seen.copies += copies;
        let least = if excess == 0 { account.copies.least } else { 0 };
        if !(least..=account.copies.most).contains(&copies) {
            let told = format!("{copies} copies to the controller, rules say {:?}", account.copies);
            return Err(Wrong::Counters.because(told));
        }
        let known: BTreeSet<RuleId> = self.seen.settled.keys().copied().collect();
        self.seen.rules.retain(|rule, _| known.contains(rule));
        Ok(())
    }

    /// Each flow says where it is and why; software and engine know the same ones.
    fn check_flows(&mut self) -> Result<(), Failure> {
        let mut flows = BTreeMap::new();
        for view in self.brain.engine.flows() {
            if view.place == Place::Software && view.why_not.is_none() {
                let told = format!("flow {:?} is not in the card and does not say why", view.id);
                return Err(Wrong::Place.because(told));
            }
            let odd = view.last_error.filter(|(at, refusal)| {
                let is_odd =
                    matches!(refusal, Refusal::Card(_) | Refusal::Unsupported | Refusal::Timeout);
                is_odd && !self.trouble.was_on && *at >= self.trouble.well_since
            });
            if let Some((_, refusal)) = odd {
                let told = format!("flow {:?} was refused: {refusal}", view.id);
                return Err(Wrong::Ledger.because(told));
            }
            let Some(total) = view.counts.total() else { continue };
            let before = self.seen.flows.get(&view.id).copied().unwrap_or_default();
            if total.since(before).is_none() {
                let told = format!("flow {:?} went from {before:?} to {total:?}", view.id);
                return Err(Wrong::Counters.because(told));
            }
            flows.insert(view.id, total);
        }
        self.seen.flows = flows;
        let known: BTreeSet<FlowId> = self.seen.flows.keys().copied().collect();
        let kept: BTreeSet<FlowId> = self.card.software.path.flows().map(|view| view.id).collect();
        if known != kept {
            let told = format!("the engine knows flows {known:?}, software has {kept:?}");
            return Err(Wrong::Place.because(told));
        }
        Ok(())
    }

    /// No sample of what the card forwarded differs from the rules, but of a card that counted wrongly.
    fn check_findings(&mut self) -> Result<(), Failure> {
        let fired = self.card.device().fired();
        let before = self.seen.fired.replace(fired);
        let struck = |class| fired.of(class) > before.map_or(0, |before| before.of(class));
        let miscounts = struck(Class::CounterWrapped) || struck(Class::CounterReset);
        let is_excused = |finding: &Finding| match finding.divergence {
            Divergence::Counts { .. } => miscounts,
            _ => false,
        };
        match self.brain.findings.iter().find(|finding| !is_excused(finding)) {
            Some(finding) => Err(Wrong::Divergence.because(format!("{finding:?}"))),
            None => {
                self.brain.findings.clear();
                Ok(())
            }
        }
    }

    /// The ledger names the entries that are in the card, and no others.
    pub(super) fn check_ledger(&mut self) -> Result<(), Failure> {
        let mut ledger = BTreeSet::new();
        for entry in self.brain.engine.flows().flat_map(|view| view.entries) {
            if entry.state != EntryState::InCard {
                let told = format!("entry {} is {:?}", entry.id.0, entry.state);
                return Err(Wrong::Stuck.because(told));
            }
            ledger.insert((entry.table.0, entry.id.0));
        }
        let inside: BTreeSet<(u8, u32)> =
            self.card.device().entries().map(|(table, _, id)| (table, id)).collect();
        if inside != ledger {
            let missing: Vec<_> = ledger.difference(&inside).collect();
            let orphans: Vec<_> = inside.difference(&ledger).collect();
            let told = format!(
                "missing in the card: {missing:?}, orphans: {orphans:?}; {:?}",
                self.brain.engine.reconciled()
            );
            return Err(Wrong::Ledger.because(told));
        }
        Ok(())
    }
}

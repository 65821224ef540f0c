//! Reconcile: what the card really holds, compared with the ledger, and mended.
//!
//! Two ways. Each sweep of counters names the owner of every counter, so an entry that has vanished is
//! missed by the next sweep. And in each round some places of the card are read back, so that
//! within a known time every place was looked at, orphans and altered entries included. An entry that
//! is missing or altered is deleted and so its flow is offered anew; an orphan is taken out by the
//! driver, which knows its place.

use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::ledger::Doom;
use crate::view::EntryState;
use crate::why::WhyNot;
use std::time::Duration;
use twinpath_flow::card::{EntryId, Found, Inspected, Refusal};
use twinpath_flow::time::Time;

/// Places read in one round at most.
const PLACES_PER_ROUND: u32 = 512;

/// What reconciling has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReconcileTotals {
    /// Places read back.
    pub inspected: u64,
    /// Entries that the card did not hold any more.
    pub missing: u64,
    /// Entries that had other words in them.
    pub altered: u64,
    /// Entries that nobody had put there.
    pub orphans: u64,
    /// Times every place was read.
    pub passes: u64,
    /// When the last such pass ended.
    pub last_pass: Option<Time>,
}

/// State of the reading.
#[derive(Debug)]
pub(crate) struct Reconcile {
    totals: ReconcileTotals,
    /// Readings not answered.
    under_way: u32,
    /// Until when time was used.
    paid: Time,
}

impl Reconcile {
    pub(crate) fn new(now: Time) -> Self {
        Self { totals: ReconcileTotals::default(), under_way: 0, paid: now }
    }

    /// Another card, or none: nothing is under way.
    pub(crate) const fn restart(&mut self, now: Time) {
        self.under_way = 0;
        self.paid = now;
    }

    /// How many places may be read now; the time since the last ones is then used up.
    fn allowance(&mut self, now: Time, per_second: u32) -> u32 {
        let nanos = now.since(self.paid).min(Duration::from_secs(1)).as_nanos();
        let count = nanos * u128::from(per_second) / 1_000_000_000;
        if count == 0 {
            return 0;
        }
        self.paid = now;
        u32::try_from(count).unwrap_or(u32::MAX).min(PLACES_PER_ROUND)
    }
}

impl Engine {
    /// What reconciling has done so far.
    #[must_use]
    pub const fn reconciled(&self) -> ReconcileTotals {
        self.reconcile.totals
    }

    /// Whether there is a card that can be read back; else what it holds is unverifiable.
    #[must_use]
    pub fn can_read_back(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.capabilities.read_back)
    }

    /// Reads some more places, when the card has nothing better to do.
    pub(crate) fn inspect_some(&mut self) {
        let (now, per_second) = (self.now, self.settings.inspections_per_second);
        let Some(ledger) = self.ledger.as_mut().filter(|l| l.capabilities.read_back) else {
            return;
        };
        let is_busy = ledger.backlog() > self.settings.ops_in_flight / 2;
        if is_busy || self.reconcile.under_way > 0 {
            return;
        }
        for _ in 0..self.reconcile.allowance(now, per_second) {
            ledger.inspect();
            self.reconcile.under_way += 1;
        }
    }

    /// A place was read.
    pub(crate) fn inspected(&mut self, result: Result<Option<Inspected>, Refusal>) {
        self.reconcile.under_way = self.reconcile.under_way.saturating_sub(1);
        let Ok(Some(Inspected { found, is_last })) = result else { return };
        let totals = &mut self.reconcile.totals;
        totals.inspected += 1;
        if is_last {
            totals.passes += 1;
            totals.last_pass = Some(self.now);
        }
        match found {
            Found::AsWritten => {}
            Found::Missing(id) => self.missing(id),
            Found::Differs(id) => {
                if self.mend(id) {
                    self.reconcile.totals.altered += 1;
                    self.tell(EngineEvent::EntryAltered { entry: id });
                }
            }
            Found::Orphan(id) => {
                self.reconcile.totals.orphans += 1;
                self.tell(EngineEvent::EntryOrphan { entry: id });
            }
        }
    }

    /// The card does not hold an entry that it should.
    pub(crate) fn missing(&mut self, id: EntryId) {
        if self.mend(id) {
            self.reconcile.totals.missing += 1;
            self.tell(EngineEvent::EntryMissing { entry: id });
        }
    }

    /// Takes an entry that serves out of the ledger and, if it is there, out of the card; whether
    /// there was one. Its flow is offered with its next packet in software.
    fn mend(&mut self, id: EntryId) -> bool {
        let now = self.now;
        let entry = self.ledger.as_ref().and_then(|ledger| ledger.entries.get(&id));
        let Some(entry) = entry.filter(|e| e.state == EntryState::InCard && e.doom.is_none())
        else {
            return false;
        };
        let flow = entry.flow;
        self.doom(id, Doom::Now);
        if let Some(record) = self.flows.get_mut(flow) {
            record.explain(now, Some(WhyNot::Pending));
        }
        true
    }
}

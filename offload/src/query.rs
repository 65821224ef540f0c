//! What people may ask.

use crate::engine::Engine;
use crate::flows::{FlowRecord, Stage};
use crate::ledger::{EntryRecord, Ledger};
use crate::rule_book::RuleRecord;
use crate::view::{
    Counted, EntryState, EntryView, FlowView, Place, RuleView, Split, TableView, Totals,
};
use std::cmp::Reverse;
use std::sync::Arc;
use twinpath_flow::card::EntryId;
use twinpath_flow::counters::Counts;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;

impl Engine {
    /// Everything known about a flow.
    #[must_use]
    pub fn flow(&self, id: FlowId) -> Option<FlowView> {
        let record = self.flows.get(self.flows.find(id)?)?;
        Some(self.view(record))
    }

    /// Whether software has the flow: it is known, and was not dropped.
    #[must_use]
    pub fn serves(&self, id: FlowId) -> bool {
        let record = self.flows.find(id).and_then(|index| self.flows.get(index));
        record.is_some_and(|record| record.stage != Stage::Departed)
    }

    /// All flows in a fixed order, those included that wait for the final counts of their entries.
    pub fn flows(&self) -> impl Iterator<Item = FlowView> + '_ {
        self.flows.iter().map(|record| self.view(record))
    }

    /// Whether a flow is in `place`, or `place` is anywhere.
    fn is_at(&self, record: &FlowRecord, place: Option<Place>) -> bool {
        place.is_none_or(|place| (place == Place::Card) == self.is_in_card(record))
    }

    /// The flows with most packets, in `place` or anywhere: how many there are, and at most `most` of
    /// them, the busiest first. Looks at every flow.
    #[must_use]
    pub fn busiest(&self, place: Option<Place>, most: usize) -> (usize, Vec<FlowId>) {
        let packets = |record: &FlowRecord| {
            let inside = self.entries_of(record).map(|entry| entry.counts.packets);
            record.card().packets + record.software.packets + inside.sum::<u64>()
        };
        let ranked = self.flows.iter().filter(|record| self.is_at(record, place));
        let mut ranked: Vec<_> =
            ranked.map(|record| (Reverse(packets(record)), record.id)).collect();
        let total = ranked.len();
        if most < total {
            ranked.select_nth_unstable(most);
            ranked.truncate(most);
        }
        ranked.sort_unstable();
        (total, ranked.into_iter().map(|(_, id)| id).collect())
    }

    /// Everything known about a rule in place or of the change under way.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<RuleView> {
        self.rules.get(id).map(|record| self.rule_view(id, record))
    }

    /// All rules in place or of the change under way, by identity.
    pub fn rules(&self) -> impl Iterator<Item = RuleView> + '_ {
        self.rules.iter().map(|(id, record)| self.rule_view(id, record))
    }

    /// The card's tables; empty without a card.
    #[must_use]
    pub fn tables(&self) -> Vec<TableView> {
        let view = |table: &crate::table::Table| TableView {
            name: table.caps.name.clone(),
            mask: table.mask_line().copied(),
            capacity: table.caps.capacity,
            used: u32::try_from(table.members.len()).unwrap_or(u32::MAX),
        };
        self.ledger.as_ref().map_or_else(Vec::new, |l| l.tables.iter().map(view).collect())
    }

    /// Whether the card holds packets while their flow moves into it, so that none is overtaken.
    #[must_use]
    pub fn can_hold(&self) -> bool {
        self.ledger.as_ref().is_none_or(|ledger| ledger.capabilities.hold_frames > 0)
    }

    /// Packets that may have been overtaken by later ones of their flow, at most: those that software
    /// had of a flow around each install in a card that cannot hold. `None` where none can be.
    #[must_use]
    pub fn overtaken_max(&self) -> Option<u64> {
        (self.overtaken_max > 0 || !self.can_hold()).then_some(self.overtaken_max)
    }

    /// Operations on the card that were made and have not ended; those that end with a later commit
    /// do not count.
    #[must_use]
    pub fn operations_under_way(&self) -> usize {
        self.ledger.as_ref().map_or(0, Ledger::backlog)
    }

    /// Sums. Looks at every flow.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let views = self.flows.iter().filter(|record| self.is_in_card(record));
        Totals {
            flows: self.split(self.card, self.card_unknown, self.software),
            flow_count: self.flows.len(),
            offloaded: views.count(),
            entries: self.ledger.as_ref().map_or(0, |ledger| ledger.entries.len()),
            card_dropped: self.card_dropped,
            counter_gap: self.gap,
        }
    }

    /// The flow of an entry, for frames the card sent with one.
    #[must_use]
    pub fn entry_flow(&self, entry: EntryId) -> Option<FlowId> {
        let entry = self.ledger.as_ref()?.entries.get(&entry)?;
        self.flows.get(entry.flow).map(|record| record.id)
    }

    fn is_in_card(&self, record: &FlowRecord) -> bool {
        let Some(ledger) = self.ledger.as_ref() else { return false };
        record
            .entries()
            .iter()
            .any(|id| ledger.entries.get(id).is_some_and(|entry| entry.state == EntryState::InCard))
    }

    /// Whether an entry serves every packet of the flow.
    pub(crate) fn is_whole(&self, record: &FlowRecord) -> bool {
        let Some(ledger) = self.ledger.as_ref() else { return false };
        let entries = record.entries().iter().filter_map(|id| ledger.entries.get(id));
        entries.filter(|entry| entry.state == EntryState::InCard).any(|entry| entry.whole)
    }

    /// What is expected of a flow, in software and card.
    fn packets_per_second(&self, record: &FlowRecord) -> u64 {
        let round = self.rounds.number;
        let entry = |id| self.ledger.as_ref()?.entries.get(id).map(|entry| entry.heat.at(round));
        let inside: u64 = record.entries().iter().filter_map(entry).sum();
        let interval = self.settings.sweep_interval.as_micros().max(1);
        let heat = u128::from(inside.max(record.heat.at(round))) * 1_000_000;
        u64::try_from(heat / interval / u128::from(crate::heat::ONE)).unwrap_or(u64::MAX)
    }

    /// When the card's counts of flows with entries were true.
    fn card_as_of(&self) -> Time {
        match self.ledger.as_ref() {
            Some(ledger) if !ledger.entries.is_empty() => self.rounds.last_sweep,
            _ => self.now,
        }
    }

    fn split(&self, card: Counts, unknown: bool, software: Counts) -> Split {
        let card = Counted { counts: card, as_of: self.card_as_of() };
        let software = Counted { counts: software, as_of: self.now };
        Split { card: (!unknown).then_some(card), software }
    }

    fn rule_view(&self, id: RuleId, record: &RuleRecord) -> RuleView {
        RuleView {
            id,
            counts: self.split(record.card, record.card_unknown, record.software),
            created: record.created,
            last_used: record.last_used,
        }
    }

    /// Entries that are in the ledger.
    fn entries_of<'a>(&'a self, record: &'a FlowRecord) -> impl Iterator<Item = &'a EntryRecord> {
        let ledger = self.ledger.as_ref();
        record.entries().iter().filter_map(move |id| ledger?.entries.get(id))
    }

    /// When the last packet of a flow passed.
    pub(crate) fn last_used(&self, record: &FlowRecord) -> Time {
        let counted = self.entries_of(record).filter(|entry| entry.counts.packets > 0);
        counted.map(|entry| entry.last_hit).fold(record.last_used, Time::max)
    }

    fn view(&self, record: &FlowRecord) -> FlowView {
        let entries: Vec<EntryView> =
            self.entries_of(record).filter_map(|entry| self.entry_view(entry)).collect();
        let serving = |entry: &&EntryView| entry.state == EntryState::InCard;
        let place =
            if entries.iter().any(|entry| serving(&entry)) { Place::Card } else { Place::Software };
        let mask = record.flow.matching.mask;
        let whole = entries.iter().filter(serving).any(|entry| entry.matching.mask == mask);
        let card = entries.iter().fold(record.card(), |sum, entry| sum + entry.counts);
        let mut counts = self.split(card, record.card_unknown, record.software);
        if let Some(card) = counts.card.as_mut().filter(|_| entries.is_empty()) {
            card.as_of = self.now;
        }
        FlowView {
            id: record.id,
            flow: Arc::clone(&record.flow),
            place,
            whole,
            why_not: record.why_not.filter(|_| !(place == Place::Card && whole)),
            since: record.since,
            created: record.created,
            last_used: Some(self.last_used(record)),
            last_error: record.last_error(),
            counts,
            heat: self.packets_per_second(record),
            entries,
        }
    }

    fn entry_view(&self, entry: &EntryRecord) -> Option<EntryView> {
        Some(EntryView {
            id: entry.id(),
            table: entry.table,
            matching: self.ledger.as_ref()?.matching(entry, &self.flows)?,
            state: entry.state,
            counts: entry.counts,
        })
    }
}

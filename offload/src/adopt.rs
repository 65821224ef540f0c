//! One engine after another: what a process leaves for its successor, and a card that went on meanwhile.
//!
//! The card's entries come from the card itself, read back by its driver and claimed one by one by the
//! flows that the rules in force make of their matches. From the former process come only counters:
//! totals, those of each rule, and for each entry how much of its count is in them already.

use crate::complete::Counted;
use crate::engine::Engine;
use crate::event::EngineEvent;
use crate::heat::Heat;
use crate::ledger::Ledger;
use crate::table::Mask;
use crate::view::Settings;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinpath_flow::card::{Capabilities, EntryId, Epoch, Fence, Generation, Inherited, TableId};
use twinpath_flow::counters::Counts;
use twinpath_flow::key::Line;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::FlowId;
use twinpath_flow::time::Time;

/// Counters of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleAccount {
    /// The rule.
    pub id: RuleId,
    /// By the card.
    pub card: Counts,
    /// Whether packets went through a card that does not count.
    pub card_unknown: bool,
    /// By software.
    pub software: Counts,
    /// When it was put in place.
    pub created: Time,
    /// Last packet.
    pub last_used: Option<Time>,
}

/// What an engine has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// By rule.
    pub rules: Vec<RuleAccount>,
    /// Of each entry, what is in the sums.
    pub entries: BTreeMap<EntryId, Counts>,
    /// Packets of flows by the card.
    pub card: Counts,
    /// Packets of flows by software.
    pub software: Counts,
    /// Of `card`, those that went nowhere.
    pub card_dropped: Counts,
    /// Whether packets went through a card that does not count.
    pub card_unknown: bool,
    /// When the card's counts are unknowable.
    pub gap: Option<(Time, Time)>,
}

/// An entry that the card had and that is as a flow wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// As the card has it.
    pub found: Inherited,
    /// The flow whose packets it takes.
    pub flow: FlowId,
}

/// A card that went on while no engine was there.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// What it can do.
    pub capabilities: Arc<Capabilities>,
    /// Its epoch.
    pub epoch: Epoch,
    /// Masks of its exact tables.
    pub masks: Vec<(TableId, Line)>,
    /// Its entries; those not named are taken out by the driver.
    pub entries: Vec<Adopted>,
    /// What is counted of entries already.
    pub counted: BTreeMap<EntryId, Counts>,
}

impl Engine {
    /// What was counted so far, for a successor.
    #[must_use]
    pub fn accounts(&self) -> Accounts {
        let rules = self.rules.iter().map(|(id, record)| RuleAccount {
            id,
            card: record.card,
            card_unknown: record.card_unknown,
            software: record.software,
            created: record.created,
            last_used: record.last_used,
        });
        let entries = self.ledger.iter().flat_map(|ledger| ledger.entries.iter());
        Accounts {
            rules: rules.collect(),
            entries: entries.map(|entry| (entry.id(), entry.counts)).collect(),
            card: self.card,
            software: self.software,
            card_dropped: self.card_dropped,
            card_unknown: self.card_unknown,
            gap: self.gap,
        }
    }

    /// An engine that goes on from another's counts; `pipeline` is in force as `generation`.
    #[must_use]
    pub fn resume(
        settings: Settings,
        (generation, pipeline): (Generation, Arc<Pipeline>),
        accounts: &Accounts,
        now: Time,
    ) -> Self {
        let mut engine = Self::new(settings, Arc::clone(&pipeline), now);
        engine.current = generation;
        for account in &accounts.rules {
            if let Some(record) = engine.rules.get_mut(account.id) {
                record.card = account.card;
                record.card_unknown = account.card_unknown;
                record.software = account.software;
                record.created = account.created;
                record.last_used = account.last_used;
            }
        }
        // The ends of rules follow from when they were made and used.
        engine.rules.keep(&pipeline);
        engine.card = accounts.card;
        engine.software = accounts.software;
        engine.card_dropped = accounts.card_dropped;
        engine.card_unknown = accounts.card_unknown;
        engine.gap = accounts.gap;
        engine
    }

    /// Notes that what a card counted since then was lost with a reset.
    pub fn lose_counters_since(&mut self, from: Time) {
        self.lose_counters(from);
    }

    /// Takes a card's entries into the ledger; what they counted meanwhile is counted.
    pub(crate) fn card_adopted(&mut self, adoption: Adoption) {
        let Adoption { capabilities, epoch, masks, entries, counted } = adoption;
        self.card_down(Counted::Unknown);
        let card = capabilities.card.clone();
        let mut ledger = Ledger::new(capabilities, epoch, self.now, self.next_tag);
        for (table, mask) in masks {
            if usize::from(table.0) < ledger.tables.len() {
                ledger.table_mut(table).mask = Mask::Set(mask);
            }
        }
        let known = entries.iter().map(|adopted| adopted.found.id);
        ledger.entries.resume(known.chain(counted.keys().copied()));
        self.ledger = Some(ledger);
        self.had_card = true;
        self.processed = Fence::default();
        let count = entries.len();
        for adopted in entries {
            let base = counted.get(&adopted.found.id).copied().unwrap_or_default();
            self.adopt_entry(&adopted, base);
        }
        if let Some(ledger) = self.ledger.as_mut() {
            ledger.entries.open_vacancies();
        }
        self.card_dropped += self.tallies.settle(&mut self.rules);
        self.tell(EngineEvent::CardAdopted { card, entries: count });
        self.offer_all();
    }

    fn adopt_entry(&mut self, adopted: &Adopted, base: Counts) {
        let Adopted { found, flow } = *adopted;
        let (now, round) = (self.now, self.rounds.number);
        let Some(index) = self.flows.find(flow) else { return };
        let (Some(ledger), Some(record)) = (self.ledger.as_mut(), self.flows.get_mut(index)) else {
            return;
        };
        let known_table = usize::from(found.table.0) < ledger.tables.len();
        if !known_table || !ledger.entries.is_vacant(found.id) {
            return;
        }
        let whole = found.matching.mask.head == record.flow.matching.mask.head;
        let tally = record.tally;
        ledger.adopt(&found, (index, tally), whole, (Heat::new(round), now));
        let counts = ledger.capabilities.counters;
        record.enter(found.id);
        record.accepted(now);
        if whole {
            record.forget_seen();
        }
        if !counts {
            self.mark_uncounted(index);
        }
        // A count below what is in the sums cannot be: then nothing is added.
        let delta = found.counts.since(base).unwrap_or_default();
        self.card += delta;
        self.tallies.add(tally, delta, found.last_hit.unwrap_or(now).min(now));
    }
}

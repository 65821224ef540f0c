//! The rules in place: their counters, and when they end.

use crate::io::ExpiryCause;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::rule::{Rule, RuleId};
use twinpath_flow::time::Time;

/// A rule in place, or of the next pipeline.
#[derive(Debug)]
pub(crate) struct RuleRecord {
    rule: Arc<Rule>,
    pub(crate) created: Time,
    pub(crate) last_used: Option<Time>,
    pub(crate) card: Counts,
    /// Whether packets went through a card that does not count.
    pub(crate) card_unknown: bool,
    /// Flows and exceptions.
    pub(crate) software: Counts,
    /// Timed out and reported; its removal is under way.
    expired: bool,
}

impl RuleRecord {
    const fn new(rule: Arc<Rule>, now: Time) -> Self {
        let zero = Counts { packets: 0, bytes: 0 };
        Self {
            rule,
            created: now,
            last_used: None,
            card: zero,
            card_unknown: false,
            software: zero,
            expired: false,
        }
    }

    /// When it ends if no packet comes, and why; `None` for never.
    fn end(&self) -> Option<(Time, ExpiryCause)> {
        let after = |start: Time, seconds: u16, cause| {
            (seconds > 0).then(|| (start.after(Duration::from_secs(seconds.into())), cause))
        };
        let used = self.last_used.map_or(self.created, |used| used.max(self.created));
        let idle = after(used, self.rule.idle_timeout, ExpiryCause::Idle);
        let hard = after(self.created, self.rule.hard_timeout, ExpiryCause::Hard);
        idle.into_iter().chain(hard).min()
    }

    /// Notes a packet at `at`.
    pub(crate) fn used(&mut self, at: Time) {
        self.last_used = self.last_used.max(Some(at));
    }
}

/// All rules.
#[derive(Debug, Default)]
pub(crate) struct RuleBook {
    rules: BTreeMap<RuleId, RuleRecord>,
    /// Earliest possible ends; looked at again when reached, as use moves them.
    ends: BTreeSet<(Time, RuleId)>,
}

impl RuleBook {
    /// Adds the rules of the next pipeline that are new, so that packets can count on them.
    pub(crate) fn add(&mut self, pipeline: &Pipeline, now: Time) {
        for placed in pipeline.iter() {
            self.rules
                .entry(placed.id)
                .or_insert_with(|| RuleRecord::new(Arc::clone(&placed.rule), now));
        }
    }

    /// Drops the rules that `pipeline` does not have, and lets the time of the others run.
    pub(crate) fn keep(&mut self, pipeline: &Pipeline) {
        let kept: BTreeSet<RuleId> = pipeline.iter().map(|placed| placed.id).collect();
        self.rules.retain(|id, _| kept.contains(id));
        self.ends = self
            .rules
            .iter()
            .filter(|(_, record)| !record.expired)
            .filter_map(|(id, record)| Some((record.end()?.0, *id)))
            .collect();
    }

    pub(crate) fn get(&self, id: RuleId) -> Option<&RuleRecord> {
        self.rules.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: RuleId) -> Option<&mut RuleRecord> {
        self.rules.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RuleId, &RuleRecord)> {
        self.rules.iter().map(|(id, record)| (*id, record))
    }

    /// Whether a rule among `ids` ends by lack of packets.
    pub(crate) fn any_idle_timeout(&self, ids: &[RuleId]) -> bool {
        ids.iter().any(|id| self.get(*id).is_some_and(|record| record.rule.idle_timeout > 0))
    }

    /// When the first rule could end.
    pub(crate) fn first_end(&self) -> Option<Time> {
        self.ends.first().map(|(time, _)| *time)
    }

    /// Takes the rules that have ended by `now`, with the counters known then.
    ///
    /// An idle timeout is decided only on counters from after its end: all from before `fresh` are
    /// known. Without fresh ones it waits until `patience` after its end.
    pub(crate) fn take_ended(
        &mut self,
        now: Time,
        fresh: Time,
        patience: Duration,
    ) -> Vec<(RuleId, ExpiryCause)> {
        let mut ended = Vec::new();
        let mut waiting = Vec::new();
        while let Some((time, id)) = self.ends.first().copied().filter(|(time, _)| *time <= now) {
            self.ends.pop_first();
            let Some(record) = self.rules.get_mut(&id) else { continue };
            let Some((end, cause)) = record.end() else { continue };
            let known = cause == ExpiryCause::Hard || fresh >= end;
            if end > now || !(known || now >= time.after(patience)) {
                waiting.push((end.max(time), id));
            } else {
                record.expired = true;
                ended.push((id, cause));
            }
        }
        self.ends.extend(waiting);
        ended
    }
}

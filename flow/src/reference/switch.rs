//! The specification with a memory: counters of rules, and their timeouts.

use super::{Outcome, process};
use crate::counters::Counts;
use crate::pipeline::Pipeline;
use crate::port::PortNo;
use crate::rule::{Rule, RuleId};
use crate::time::Time;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Which timeout ended a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timeout {
    /// `idle_timeout`.
    Idle,
    /// `hard_timeout`.
    Hard,
}

/// A rule that has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its identity.
    pub id: RuleId,
    /// The rule.
    pub rule: Arc<Rule>,
    /// Which timeout it was; the hard one if both.
    pub timeout: Timeout,
    /// What it counted.
    pub counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    counts: Counts,
    since: Time,
    last: Time,
}

/// A pipeline with counters and timeouts; time is handed in.
#[derive(Clone, Debug, Default)]
pub struct Switch {
    pipeline: Pipeline,
    usage: HashMap<RuleId, Usage>,
}

impl Switch {
    /// A switch whose rules begin to live at `now`.
    #[must_use]
    pub fn new(pipeline: Pipeline, now: Time) -> Self {
        let mut switch = Self::default();
        switch.replace(pipeline, now);
        switch
    }

    /// The rules in force.
    #[must_use]
    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Puts another pipeline in force. Rules that keep their id keep counters and age.
    pub fn replace(&mut self, pipeline: Pipeline, now: Time) {
        let fresh = Usage { counts: Counts::default(), since: now, last: now };
        self.usage = pipeline
            .iter()
            .map(|placed| (placed.id, self.usage.get(&placed.id).copied().unwrap_or(fresh)))
            .collect();
        self.pipeline = pipeline;
    }

    /// Runs a frame, as [`process`] does, and counts it on the rules it hit.
    pub fn receive(&mut self, frame: &[u8], in_port: PortNo, now: Time) -> Outcome {
        let outcome = process(&self.pipeline, frame, in_port);
        for id in &outcome.rules {
            let usage = self.usage.entry(*id).or_default();
            usage.counts += Counts::one(frame.len());
            usage.last = now;
        }
        outcome
    }

    /// What a rule has counted; zero for an unknown one.
    #[must_use]
    pub fn counts(&self, id: RuleId) -> Counts {
        self.usage.get(&id).copied().unwrap_or_default().counts
    }

    /// Takes out the rules whose time is over, in table order.
    pub fn expire(&mut self, now: Time) -> Vec<Expired> {
        let mut expired = Vec::new();
        for placed in self.pipeline.iter() {
            let usage = self.usage.get(&placed.id).copied().unwrap_or_default();
            let rule = &placed.rule;
            let timeout = if is_over(rule.hard_timeout, usage.since, now) {
                Timeout::Hard
            } else if is_over(rule.idle_timeout, usage.last, now) {
                Timeout::Idle
            } else {
                continue;
            };
            let rule = Arc::clone(rule);
            expired.push(Expired { id: placed.id, rule, timeout, counts: usage.counts });
        }
        if !expired.is_empty() {
            let gone = |id| expired.iter().any(|ended: &Expired| ended.id == id);
            let kept: Vec<_> =
                self.pipeline.iter().filter(|placed| !gone(placed.id)).cloned().collect();
            self.replace(Pipeline::new(Arc::clone(&self.pipeline.ports), kept), now);
        }
        expired
    }

    /// When the next rule could expire, if none is used until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let end = |seconds: u16, since: Time| {
            (seconds > 0).then(|| since.after(Duration::from_secs(u64::from(seconds))))
        };
        self.pipeline
            .iter()
            .flat_map(|placed| {
                let usage = self.usage.get(&placed.id).copied().unwrap_or_default();
                let rule = &placed.rule;
                [end(rule.hard_timeout, usage.since), end(rule.idle_timeout, usage.last)]
            })
            .flatten()
            .min()
    }
}

fn is_over(seconds: u16, since: Time, now: Time) -> bool {
    seconds > 0 && now.since(since) >= Duration::from_secs(u64::from(seconds))
}

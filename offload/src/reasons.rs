//! Packets that software forwarded, by why they were not in the card.
//!
//! Software's counts come twenty times a second; what came since the last time is put down to the
//! reason then in force for the flow. So the sum over all reasons is software's total, and a
//! packet may be put down to a reason that came up to a tenth of a second after it.

use crate::engine::Engine;
use crate::why::WhyNot;
use std::collections::HashMap;
use twinpath_flow::counters::Counts;

/// Reasons told apart; what comes after is put down to [`Reason::Other`].
const REASONS_MAX: usize = 1024;

/// Why packets of flows went through software.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// The flow was being made or installed: its first packets always go through software.
    #[error("first packets of a flow")]
    FirstPackets,
    /// The flow was not, or not wholly, in the card.
    #[error(transparent)]
    WhyNot(#[from] WhyNot),
    /// More kinds of reasons than are told apart.
    #[error("other reasons")]
    Other,
}

/// A reason with what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonView {
    /// The reason.
    pub reason: Reason,
    /// Flows it holds for now.
    pub flows: usize,
    /// Packets put down to it since the start, those of gone flows included.
    pub packets: u64,
}

/// Packets by reason.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    /// In the order of their coming.
    packets: Vec<(Reason, u64)>,
    places: HashMap<Reason, usize>,
    /// Place of the reason charged last: flows reported together are mostly there for one.
    last: usize,
}

impl Reasons {
    /// Puts packets of a flow down to why it is not in the card.
    pub(crate) fn charge(&mut self, why_not: Option<WhyNot>, counts: Counts) {
        if counts.packets == 0 {
            return;
        }
        let reason = Reason::of(why_not);
        if self.packets.get(self.last).is_none_or(|(last, _)| *last != reason) {
            self.last = self.place_of(reason);
        }
        self.packets[self.last].1 += counts.packets;
    }

    fn place_of(&mut self, mut reason: Reason) -> usize {
        if self.packets.len() >= REASONS_MAX && !self.places.contains_key(&reason) {
            reason = Reason::Other;
        }
        let Self { packets, places, .. } = self;
        *places.entry(reason).or_insert_with(|| {
            packets.push((reason, 0));
            packets.len() - 1
        })
    }
}

impl Reason {
    /// What would get such flows into the card.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::FirstPackets => "nothing: a flow's first packets make it known".into(),
            Self::WhyNot(why_not) => why_not.remedy(),
            Self::Other => "see the flows: `twinpath flows --where software`".into(),
        }
    }

    /// The reason of a flow, without what differs from flow to flow.
    fn of(why_not: Option<WhyNot>) -> Self {
        match why_not {
            None | Some(WhyNot::Pending | WhyNot::Held) => Self::FirstPackets,
            Some(WhyNot::BelowThreshold { threshold, .. }) => {
                Self::WhyNot(WhyNot::BelowThreshold { packets: 0, threshold })
            }
            Some(why_not) => Self::WhyNot(why_not),
        }
    }
}

impl Engine {
    /// Why packets went through software, the most first. The packets sum to software's part of
    /// [`Engine::totals`]. Looks at every flow.
    #[must_use]
    pub fn reasons(&self) -> Vec<ReasonView> {
        let mut views: HashMap<Reason, ReasonView> = HashMap::new();
        for (reason, packets) in &self.reasons.packets {
            views.insert(*reason, ReasonView { reason: *reason, flows: 0, packets: *packets });
        }
        for record in self.flows.iter().filter(|record| !self.is_whole(record)) {
            let reason = Reason::of(record.why_not);
            views.entry(reason).or_insert(ReasonView { reason, flows: 0, packets: 0 }).flows += 1;
        }
        let mut views: Vec<_> = views.into_values().collect();
        views.sort_by_cached_key(|view| {
            (std::cmp::Reverse((view.packets, view.flows)), view.reason.to_string())
        });
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_put_down_to_a_bounded_number_of_reasons() {
        let mut reasons = Reasons::default();
        for threshold in 0..2000 {
            let why_not = WhyNot::BelowThreshold { packets: 7, threshold };
            reasons.charge(Some(why_not), Counts { packets: 2, bytes: 120 });
        }
        assert_eq!(reasons.packets.len(), REASONS_MAX + 1);
        assert_eq!(reasons.packets.iter().map(|(_, packets)| packets).sum::<u64>(), 4000);
        reasons.charge(Some(WhyNot::Held), Counts { packets: 0, bytes: 0 });
        assert!(!reasons.places.contains_key(&Reason::FirstPackets));
    }
}

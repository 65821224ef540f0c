//! The rules that a flow's packets count on, in the flow's own cache line as long as they are few.

use twinpath_flow::rule::RuleId;

/// Rules kept in place.
const FEW: usize = 4;

/// Rules of a flow: a few, or none here and all of them elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleList {
    len: u8,
    rules: [RuleId; FEW],
}

impl RuleList {
    /// No rules.
    pub(crate) const EMPTY: Self = Self { len: 0, rules: [RuleId(0); FEW] };

    /// A list in place; `None` when they are too many.
    pub(crate) fn new(rules: &[RuleId]) -> Option<Self> {
        let mut list = Self::EMPTY;
        list.rules.get_mut(..rules.len())?.copy_from_slice(rules);
        list.len = u8::try_from(rules.len()).ok()?;
        Some(list)
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &[RuleId] {
        &self.rules[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_up_to_four_rules() {
        let rules: Vec<RuleId> = (1..6).map(RuleId).collect();
        assert_eq!(RuleList::new(&rules[..4]).expect("four").rules(), &rules[..4]);
        assert!(RuleList::new(&[]).expect("none").rules().is_empty());
        assert!(RuleList::new(&rules).is_none());
    }
}

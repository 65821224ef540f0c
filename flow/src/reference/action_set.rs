//! The action set: what `write_actions` collects until the end of the pipeline.

use crate::action::{Action, OutPort};

/// At most one action of each kind, set-fields apart (OpenFlow 1.3.5 §5.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ActionSet {
    pop: bool,
    push: Option<u16>,
    dec_ttl: bool,
    /// In the order written: a later one of the same bits wins.
    sets: Vec<Action>,
    output: Option<OutPort>,
}

impl ActionSet {
    /// Merges actions; an action of a kind already there replaces it.
    pub(super) fn write(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::PopVlan => self.pop = true,
                Action::PushVlan(tpid) => self.push = Some(*tpid),
                Action::DecTtl => self.dec_ttl = true,
                Action::SetField { .. } => self.sets.push(action.clone()),
                Action::Output(port) => self.output = Some(*port),
            }
        }
    }

    /// The actions in OpenFlow's order: pop, push, TTL, sets, output. Empty without an output.
    pub(super) fn into_list(self) -> Vec<Action> {
        let Some(output) = self.output else { return Vec::new() };
        let mut list = Vec::with_capacity(self.sets.len() + 4);
        list.extend(self.pop.then_some(Action::PopVlan));
        list.extend(self.push.map(Action::PushVlan));
        list.extend(self.dec_ttl.then_some(Action::DecTtl));
        list.extend(self.sets);
        list.push(Action::Output(output));
        list
    }
}

//! The action set: what write_actions gathers and the end of the pipeline executes.

use twinpath_flow::action::{Action, OutPort};

/// Actions written so far, executed in OpenFlow's order (OpenFlow 1.3.5 §5.10).
#[derive(Debug, Default)]
pub(super) struct ActionSet {
    pop_vlan: bool,
    push_vlan: Option<u16>,
    dec_ttl: bool,
    /// In the order written; a later one overwrites the bits of an earlier one.
    set: Vec<Action>,
    output: Option<OutPort>,
}

impl ActionSet {
    /// Merges the actions of one write_actions.
    pub(super) fn write(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Output(port) => self.output = Some(*port),
                Action::SetField { .. } => self.set.push(action.clone()),
                Action::PushVlan(tpid) => self.push_vlan = Some(*tpid),
                Action::PopVlan => self.pop_vlan = true,
                Action::DecTtl => self.dec_ttl = true,
            }
        }
    }

    /// The actions in the order of execution; nothing when there is no output.
    pub(super) fn into_actions(self) -> Vec<Action> {
        let Some(output) = self.output else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        actions.extend(self.pop_vlan.then_some(Action::PopVlan));
        actions.extend(self.push_vlan.map(Action::PushVlan));
        actions.extend(self.dec_ttl.then_some(Action::DecTtl));
        actions.extend(self.set);
        actions.push(Action::Output(output));
        actions
    }
}

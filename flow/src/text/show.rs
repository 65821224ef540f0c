//! Flows for people: matches, steps and edits in the style of `dpctl/dump-flows`.

use crate::edit::Edit;
use crate::key::MaskedKey;
use crate::port::PortTable;
use crate::steps::Flow;

/// The match of a flow: `in_port=1,tcp,nw_src=10.0.0.0/8`; empty when it matches everything.
#[must_use]
pub fn match_text(matching: &MaskedKey, names: Option<&PortTable>) -> String {
    format!("{:?} {names:?}", matching.value)
}

/// The steps of a flow as an action list: `set_field:…,push_vlan:0x8100,2`; `drop` when empty.
#[must_use]
pub fn steps_text(flow: &Flow, names: Option<&PortTable>) -> String {
    format!("{:?} {names:?}", flow.steps)
}

/// An edit as an action list, in its order of application.
#[must_use]
pub fn edit_text(edit: &Edit, matching: &MaskedKey, names: Option<&PortTable>) -> String {
    format!("{edit:?} {matching:?} {names:?}")
}

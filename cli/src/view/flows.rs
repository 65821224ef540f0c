//! Flows for people.

use super::{known, wrapped};
use crate::run::explain::FlowStory;
use crate::run::listing::Page;
use serde::{Deserialize, Serialize};

/// The answer to `twinpath flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flows {
    /// Flows there are.
    pub total: usize,
    /// Flows listed, busiest first.
    pub flows: Vec<FlowStory>,
    /// Where the listing goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Page>,
}

/// The flows, three lines or more each: where it lives and why, what it matches, what it does.
pub(crate) fn list(answer: &Flows) -> String {
    let mut text = String::from("flow          packets  packets/s  where\n");
    for flow in &answer.flows {
        let part = if flow.place == "card" && !flow.whole { " in part" } else { "" };
        let why = flow.why_not.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let packets = known(flow.packets);
        let rate = flow.packets_per_second;
        text += &format!("{:<10}{packets:>11}{rate:>11}  {}{part}{why}\n", flow.flow, flow.place);
        text += &wrapped("  ", if flow.matching.is_empty() { "any" } else { &flow.matching });
        text += &wrapped("  → ", &flow.actions);
    }
    if answer.flows.len() < answer.total {
        text += &format!("{} of {} flows; --limit shows more\n", answer.flows.len(), answer.total);
    }
    text
}

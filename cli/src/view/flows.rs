//! Flows for people.

use super::{known, lines, table};
use crate::run::explain::FlowStory;
use serde::{Deserialize, Serialize};

/// The answer to `twinpath flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flows {
    /// Flows there are.
    pub total: usize,
    /// Flows listed, busiest first.
    pub flows: Vec<FlowStory>,
}

/// The flows as a table.
pub(crate) fn list(answer: &Flows) -> String {
    let mut rows = table(&["flow", "packets", "where", "match and actions"], &[1]);
    for flow in &answer.flows {
        let place = match &flow.why_not {
            Some(why) => format!("{}: {why}", flow.place),
            None => flow.place.clone(),
        };
        let what = format!("{} → {}", flow.matching, flow.actions);
        rows.add_row([flow.flow.clone(), known(flow.packets), place, what]);
    }
    let mut text = lines(&rows);
    if answer.flows.len() < answer.total {
        text += &format!("{} of {} flows; --limit shows more\n", answer.flows.len(), answer.total);
    }
    text
}

//! Why packets go through software, for people.

use super::{lines, paragraph, share, table};
use serde::{Deserialize, Serialize};

/// The answer to `twinpath flows --why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reasons {
    /// Packets of flows, by card and software; null when the card does not count.
    pub decided: Option<u64>,
    /// Of those, by software: the sum over `reasons`.
    pub software: u64,
    /// The reasons, the most packets first.
    pub reasons: Vec<ReasonStory>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReasonStory {
    /// Why.
    pub reason: String,
    /// What would get such flows into the card.
    pub remedy: String,
    /// Flows it holds for now.
    pub flows: usize,
    /// Packets put down to it since the start.
    pub packets: u64,
}

/// One line a reason, then what to do.
pub(crate) fn list(answer: &Reasons) -> String {
    let all = answer.decided.unwrap_or(answer.software);
    let of = if answer.decided.is_some() { "all" } else { "software's" };
    let mut text = format!("{} of {of} packets are in software\n", share(answer.software, all));
    let mut rows = table(&["share", "packets", "flows now", "reason"], &[0, 1, 2]);
    for each in &answer.reasons {
        let (packets, flows) = (each.packets.to_string(), each.flows.to_string());
        rows.add_row([share(each.packets, all), packets, flows, each.reason.clone()]);
    }
    text += &lines(&rows);
    for (index, each) in answer.reasons.iter().filter(|each| each.flows > 0).enumerate() {
        if index == 0 {
            text += "\nwhat would change it\n";
        }
        text += &paragraph(2, &each.reason);
        text += &paragraph(4, &format!("→ {}", each.remedy));
    }
    text
}

//! A packet's or flow's story for people.

use super::known;
use crate::run::candidate::CandidateStory;
use crate::run::explain::{FlowStory, PacketStory};
use std::fmt::Write as _;

/// A packet: tables, frames sent, flow.
pub(crate) fn packet(story: &PacketStory) -> String {
    let mut text = format!("packet   {}\n", story.packet);
    if let Some(exception) = &story.exception {
        let _ = writeln!(text, "         {exception}");
    }
    for passed in &story.tables {
        let _ = writeln!(text, "table {:<3}{}", passed.table, passed.rule);
    }
    if let Some(table) = story.no_match_in {
        let _ = writeln!(text, "table {table:<3}no rule matches: drop");
    }
    for output in &story.outputs {
        let _ = writeln!(text, "output   port {}: {}", output.port, output.packet);
        let _ = writeln!(text, "         {}", output.frame);
    }
    if story.controller > 0 {
        let _ = writeln!(text, "output   controller, {} copies", story.controller);
    }
    if story.outputs.is_empty() && story.controller == 0 {
        text += "output   none: dropped\n";
    }
    text + &candidate(story.candidate.as_ref())
}

/// Whether the device asked about would take the flow; nothing when none was.
pub(crate) fn candidate(story: Option<&CandidateStory>) -> String {
    let Some(story) = story else { return String::new() };
    let mut text = match &story.why_not {
        None => format!("{:<8} would take the flow\n", story.device),
        Some(why) => format!("{:<8} would not take the flow: {why}\n", story.device),
    };
    if let Some(remedy) = &story.remedy {
        let _ = writeln!(text, "remedy   {remedy}");
    }
    text
}

/// A flow: what it is, where it lives and why.
pub(crate) fn flow(story: Option<&FlowStory>) -> String {
    let Some(story) = story else {
        return "flow     none yet: the first such packet makes one\n".to_owned();
    };
    let mut text = format!("flow     {} {}\n", story.flow, story.matching);
    let _ = writeln!(text, "actions  {}", story.actions);
    let part = if story.place == "card" && !story.whole { ", some of its packets" } else { "" };
    let _ = writeln!(text, "where    {}{part}, since {:.6} s", story.place, story.since);
    if let Some(why) = &story.why_not {
        let _ = writeln!(text, "why      {why}");
    }
    if let Some(remedy) = &story.remedy {
        let _ = writeln!(text, "remedy   {remedy}");
    }
    if let Some(error) = &story.last_error {
        let _ = writeln!(text, "error    {error}");
    }
    let _ = writeln!(
        text,
        "packets  {} ({} card, {} software), {} a second lately",
        known(story.packets),
        known(story.card_packets),
        story.software_packets,
        story.packets_per_second
    );
    if let Some(at) = story.card_counted_at {
        let _ = writeln!(text, "counted  by the card until {at:.6} s");
    }
    for entry in &story.entries {
        let _ = writeln!(text, "entry    {entry}");
    }
    text
}

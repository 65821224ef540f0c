//! What happens to a packet, and where a flow lives and why.

use super::candidate::CandidateStory;
use super::event_ring::hex;
use super::keeper::FlowKeeper;
use super::session::Session;
use serde::{Deserialize, Serialize};
use twinpath_flow::key::Key;
use twinpath_flow::parse::{Standing, parse};
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::reference::{Outcome, process};
use twinpath_flow::rule::Rule;
use twinpath_flow::steps::Flow;
use twinpath_flow::text::{match_text, rule_text, steps_text};
use twinpath_offload::Engine;
use twinpath_offload::view::{EntryState, FlowView, Place};

/// A packet's way and fate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PacketStory {
    /// The packet as rules see it.
    pub packet: String,
    /// Why only the slow path may handle it, if so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exception: Option<String>,
    /// Rules that matched, one per table passed.
    pub tables: Vec<TableStory>,
    /// A table in which no rule matched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub no_match_in: Option<u8>,
    /// Frames sent.
    pub outputs: Vec<OutputStory>,
    /// Copies for the controller.
    pub controller: usize,
    /// The flow that decides such packets; null when none was made yet.
    pub flow: Option<FlowStory>,
    /// Whether the device that was asked about would take it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub candidate: Option<CandidateStory>,
}

/// A table passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableStory {
    /// Table.
    pub table: u8,
    /// The rule.
    pub rule: String,
}

/// A frame sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutputStory {
    /// Physical port.
    pub port: u16,
    /// The frame as the rules of the next hop would see it.
    pub packet: String,
    /// Bytes in hexadecimal.
    pub frame: String,
}

/// A flow: what it is, where it lives and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FlowStory {
    /// Slot and use of the slot, as `explain` takes it.
    pub flow: String,
    /// What it matches.
    #[serde(rename = "match")]
    pub matching: String,
    /// What it does.
    pub actions: String,
    /// `card` or `software`.
    #[serde(rename = "where")]
    pub place: String,
    /// Whether entries in the card cover every packet of it.
    pub whole: bool,
    /// Why it is not in the card, or not wholly.
    pub why_not: Option<String>,
    /// What would get it there.
    pub remedy: Option<String>,
    /// Seconds since the origin when that became so.
    pub since: f64,
    /// Last refusal by the card.
    pub last_error: Option<String>,
    /// Packets; null when the card's part is unknown.
    pub packets: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
    /// Packets counted by the card.
    pub card_packets: Option<u64>,
    /// Seconds since the origin when that was true; null where it has counted none or does not count.
    pub card_counted_at: Option<f64>,
    /// Packets counted by software.
    pub software_packets: u64,
    /// Packets a second lately.
    pub packets_per_second: u64,
    /// Entries in the card.
    pub entries: Vec<String>,
}

/// Follows a frame through `pipeline`.
pub(crate) fn packet_story(
    pipeline: &Pipeline,
    frame: &[u8],
    in_port: PortNo,
) -> (PacketStory, Key) {
    let parsed = parse(frame, in_port, &pipeline.ports);
    let outcome = process(pipeline, frame, in_port);
    let rule = |id| pipeline.iter().find(|placed| placed.id == id).map(|placed| &placed.rule);
    let passed: Vec<_> = outcome.rules.iter().filter_map(|id| rule(*id)).collect();
    let tables =
        passed.iter().map(|rule| TableStory { table: rule.table, rule: text_of(rule) }).collect();
    let no_match_in = match passed.last() {
        None => (parsed.standing != Standing::Malformed).then_some(0),
        Some(last) => last.instructions.goto_table,
    };
    let exception = match parsed.standing {
        Standing::Plain => None,
        Standing::Exception => Some("only software may handle it".to_owned()),
        Standing::Malformed => Some("malformed tunnel headers: dropped".to_owned()),
    };
    let story = PacketStory {
        packet: key_text(&parsed.key),
        exception,
        tables,
        no_match_in,
        controller: outcome.controller.len(),
        outputs: outputs(pipeline, outcome),
        flow: None,
        candidate: None,
    };
    (story, parsed.key)
}

fn outputs(pipeline: &Pipeline, outcome: Outcome) -> Vec<OutputStory> {
    outcome
        .outputs
        .into_iter()
        .map(|(port, frame)| OutputStory {
            port: port.0,
            packet: key_text(&parse(&frame, port, &pipeline.ports).key),
            frame: hex(&frame),
        })
        .collect()
}

/// A rule as loadable text.
pub(crate) fn text_of(rule: &Rule) -> String {
    rule_text(rule, None).to_string()
}

/// The match of a rule as text.
pub(crate) fn rule_match(rule: &Rule) -> String {
    let matching = &rule.matching;
    let mut text = match_text(&matching.key, None);
    if matching.metadata_mask != 0 {
        if !text.is_empty() {
            text.push(',');
        }
        text += &format!("metadata={:#x}/{:#x}", matching.metadata, matching.metadata_mask);
    }
    text
}

/// A packet's fields as text: those that are not zero.
fn key_text(key: &Key) -> String {
    use twinpath_flow::field::FIELDS;
    use twinpath_flow::key::MaskedKey;
    let mut shown = MaskedKey::default();
    for spec in FIELDS.iter().filter(|spec| key.get(spec.field) != 0) {
        shown.constrain(spec.field, key.get(spec.field), spec.field.full_mask());
    }
    match_text(&shown, None)
}

/// The flow that decides packets with `key`.
pub(crate) fn flow_of(key: &Key, keeper: &dyn FlowKeeper, session: &Session) -> Option<FlowStory> {
    let (id, flow) = keeper.find(key)?;
    Some(match session.brain.engine.flow(id) {
        Some(known) => flow_story(&known, session),
        None => unknown_flow(id.index, id.generation, &flow, session),
    })
}

/// The flow of a number such as `17` or `17.2`.
pub(crate) fn flow_numbered(what: &str, engine: &Engine) -> Option<FlowView> {
    let (index, generation) = what.split_once('.').unwrap_or((what, ""));
    let index: u32 = index.parse().ok()?;
    let generation: Option<u32> =
        if generation.is_empty() { None } else { Some(generation.parse().ok()?) };
    let mut flows = engine.flows();
    let wanted = |view: &FlowView| {
        view.id.index == index && generation.is_none_or(|wanted| view.id.generation == wanted)
    };
    flows.find(wanted)
}

/// A flow as the engine knows it.
pub(crate) fn flow_story(view: &FlowView, session: &Session) -> FlowStory {
    let (total, card) = (view.counts.total(), view.counts.card);
    let seconds = |time| session.seconds(time);
    let place = match view.place {
        Place::Card => "card",
        Place::Software => "software",
    };
    FlowStory {
        flow: format!("{}.{}", view.id.index, view.id.generation),
        matching: match_text(&view.flow.matching, None),
        actions: steps_text(&view.flow, None),
        place: place.to_owned(),
        whole: view.whole,
        why_not: view.why_not.map(|why| why.to_string()),
        remedy: view.why_not.map(|why| why.remedy()),
        since: seconds(view.since),
        last_error: view
            .last_error
            .map(|(when, error)| format!("{error} at {:.6} s", seconds(when))),
        packets: total.map(|counts| counts.packets),
        bytes: total.map(|counts| counts.bytes),
        card_packets: card.map(|card| card.counts.packets),
        card_counted_at: card
            .filter(|card| card.counts.packets > 0)
            .map(|card| seconds(card.as_of)),
        software_packets: view.counts.software.counts.packets,
        packets_per_second: view.heat,
        entries: view
            .entries
            .iter()
            .map(|entry| {
                let matching = match_text(&entry.matching, None);
                format!("table {}, {}: {matching}", entry.table.0, state_text(entry.state))
            })
            .collect(),
    }
}

const fn state_text(state: EntryState) -> &'static str {
    match state {
        EntryState::Adding => "being added",
        EntryState::Held => "held",
        EntryState::Releasing => "being released",
        EntryState::InCard => "serves",
        EntryState::Deleting => "being deleted",
    }
}

/// A flow that software has and the engine has not been told of: it lasts for an instant only.
fn unknown_flow(index: u32, generation: u32, flow: &Flow, session: &Session) -> FlowStory {
    FlowStory {
        flow: format!("{index}.{generation}"),
        matching: match_text(&flow.matching, None),
        actions: steps_text(flow, None),
        place: "software".to_owned(),
        whole: false,
        why_not: Some("just made".to_owned()),
        remedy: None,
        since: session.seconds(session.now),
        last_error: None,
        packets: None,
        bytes: None,
        card_packets: None,
        card_counted_at: None,
        software_packets: 0,
        packets_per_second: 0,
        entries: Vec::new(),
    }
}

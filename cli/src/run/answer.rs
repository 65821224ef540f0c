//! Answers to requests of the control socket.

use super::candidate;
use super::collect::{card, reading, statistics};
use super::explain::{flow_numbered, flow_of, flow_story, packet_story, text_of};
use super::fault;
use super::forwarder::Forwarder;
use super::listing::{FLOWS_MAX, Page};
use super::replace::{preview, replace};
use super::session::Session;
use crate::control::request::{Answer, Request};
use crate::view::flows::Flows;
use crate::view::why::{ReasonStory, Reasons};
use serde::Serialize;
use serde_json::json;
use twinpath_flow::steps::Flow;
use twinpath_flow::text::{parse_packet, parse_rule, parse_selector};
use twinpath_offload::reasons::ReasonView;
use twinpath_offload::view::Place;

/// Answers one request.
pub(crate) fn answer(session: &mut Session, request: &Request) -> Answer {
    match request {
        Request::Stats => ok(&statistics(session)),
        Request::Flows { place, limit, page } => flows(session, place.as_deref(), *limit, *page),
        Request::Explain { what, device } => explain(session, what, device.as_deref()),
        Request::Reasons => reasons(session),
        Request::RulesDump => {
            let rules = session.brain.rules().rules();
            ok(&rules.iter().map(|placed| text_of(&placed.rule)).collect::<Vec<_>>())
        }
        Request::RulesAdd { rules } => add_rules(session, rules),
        Request::RulesDel { selection, strict } => delete_rules(session, selection, *strict),
        Request::RulesReplace { name, text, dry_run: true } => preview(session, name, text),
        Request::RulesReplace { name, text, dry_run: false } => replace(session, name, text),
        Request::Reconcile => ok(&reading(session)),
        Request::Events => ok(&session.brain.events.happenings(session.begun())),
        Request::Fault { order } => match &mut session.forwarder {
            Forwarder::Card(card) => fault::answer(card.device(), order, session.now),
            _ => {
                let device = session.config.device.name();
                Answer::Refused(format!(
                    "device {device} has no faults here; those of a card served by `twinpath sim \
                     --socket CARD` are reached with --socket CARD"
                ))
            }
        },
        Request::Card => card_view(session),
        Request::CardOrder { order } => {
            let now = session.now;
            if !session.forwarder.obey(now, *order, &mut session.brain) {
                return Answer::Refused(no_card(session));
            }
            session.brain.settle(now, session.forwarder.keeper_mut());
            card_view(session)
        }
    }
}

fn card_view(session: &mut Session) -> Answer {
    match card(session) {
        Some(view) => ok(&view),
        None => Answer::Refused(no_card(session)),
    }
}

fn no_card(session: &mut Session) -> String {
    let device = session.config.device.name();
    match session.forwarder.card(session.now) {
        Some((name, health)) => format!("the card {name} is {health}"),
        None => format!("device {device} is no card"),
    }
}

pub(super) fn ok<T: Serialize>(value: &T) -> Answer {
    match serde_json::to_value(value) {
        Ok(value) => Answer::Ok(value),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// A page of the flows, busiest first; without a page the first one of a new listing.
fn flows(session: &mut Session, place: Option<&str>, limit: usize, page: Option<Page>) -> Answer {
    let place = match place {
        None => None,
        Some("card") => Some(Place::Card),
        Some("software") => Some(Place::Software),
        Some(other) => return Answer::Refused(format!("unknown place {other:?}")),
    };
    let engine = &session.brain.engine;
    let page =
        page.unwrap_or_else(|| session.listings.keep(engine.busiest(place, limit.min(FLOWS_MAX))));
    let Some((listed, total, next)) = session.listings.page(page) else {
        return Answer::Refused("that listing is forgotten; ask for a new one".to_owned());
    };
    // A flow that has gone since is not told any more.
    let views = listed.iter().filter_map(|id| engine.flow(*id));
    let flows: Vec<_> = views.map(|view| flow_story(&view, session)).collect();
    ok(&Flows { total, flows, next })
}

fn explain(session: &Session, what: &str, device: Option<&str>) -> Answer {
    if let Some(unknown) = device.filter(|device| !candidate::NAMES.contains(device)) {
        let names = candidate::NAMES.join(", ");
        return Answer::Refused(format!("unknown device {unknown:?}; known are {names}"));
    }
    let pipeline = session.brain.pipeline();
    let judge = |flow: &Flow| device.and_then(|device| candidate::judge(device, flow, pipeline));
    if !what.is_empty() && what.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return match flow_numbered(what, &session.brain.engine) {
            Some(view) => {
                ok(&json!({ "flow": flow_story(&view, session), "candidate": judge(&view.flow) }))
            }
            None => Answer::Refused(format!("no flow {what}")),
        };
    }
    let packet = match parse_packet(what, session.brain.ports()) {
        Ok(packet) => packet,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let (mut story, key) = packet_story(pipeline, &packet.frame, packet.in_port);
    if let Some(keeper) = session.forwarder.keeper() {
        story.flow = flow_of(&key, keeper, session);
        story.candidate = keeper.flow_for(&key).as_ref().and_then(judge);
    }
    ok(&story)
}

/// Why packets went through software, the most first.
fn reasons(session: &Session) -> Answer {
    let engine = &session.brain.engine;
    let totals = engine.totals().flows;
    let decided = totals.total().map(|counts| counts.packets);
    let of = |view: &ReasonView| ReasonStory {
        reason: view.reason.to_string(),
        remedy: view.reason.remedy(),
        flows: view.flows,
        packets: view.packets,
    };
    let reasons: Vec<_> = engine.reasons().iter().map(of).collect();
    ok(&Reasons { decided, software: totals.software.counts.packets, reasons })
}

fn add_rules(session: &mut Session, texts: &[String]) -> Answer {
    let mut rules = Vec::with_capacity(texts.len());
    let mut warnings = Vec::new();
    for text in texts {
        match parse_rule("rule", text, session.brain.ports()) {
            Ok(parsed) => {
                warnings.extend(parsed.warnings.iter().map(ToString::to_string));
                rules.push(parsed.rule);
            }
            Err(error) => return Answer::Refused(error.to_string()),
        }
    }
    let added = rules.len();
    session.brain.change(|store| store.add(rules));
    settle(session, format!("{} added", rules_of(added)));
    ok(&json!({ "added": added, "warnings": warnings }))
}

fn delete_rules(session: &mut Session, text: &str, strict: bool) -> Answer {
    let mut selector = match parse_selector("selection", text, session.brain.ports()) {
        Ok(selector) => selector,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    if strict {
        selector.strict_priority.get_or_insert(twinpath_flow::rule::PRIORITY_DEFAULT);
    }
    let deleted: Vec<String> = session
        .brain
        .change(|store| store.delete(&selector))
        .iter()
        .map(|placed| text_of(&placed.rule))
        .collect();
    settle(session, format!("{} deleted", rules_of(deleted.len())));
    ok(&json!({ "deleted": deleted }))
}

/// So many rules, in words.
fn rules_of(count: usize) -> String {
    if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") }
}

pub(super) fn settle(session: &mut Session, event: String) {
    let now = session.now;
    session.brain.events.event(now, event);
    session.brain.settle(now, session.forwarder.keeper_mut());
}

//! Replacing all rules at once, and saying beforehand what that would change.

use super::answer::{ok, settle};
use super::explain::text_of;
use super::rules::parse_text;
use super::session::Session;
use crate::control::request::Answer;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use twinpath_flow::pipeline::PlacedRule;
use twinpath_offload::rules::Difference;
use twinpath_offload::view::Place;

/// What a replacement changes, or would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Rules that stay, with their counters.
    pub kept: usize,
    /// Rules that come, as loadable text.
    pub added: Vec<String>,
    /// Rules that go.
    pub removed: Vec<String>,
    /// What becomes of the flows; absent where there are none.
    pub flows: Option<FlowChanges>,
    /// What is odd about the file.
    pub warnings: Vec<String>,
}

/// What a replacement does to the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlowChanges {
    /// Treated as before: they stay where they are, and go on counting.
    pub kept: usize,
    /// Treated otherwise: they end, and their next packets make new ones.
    pub ended: usize,
    /// Of those that end, flows in the card.
    pub ended_in_card: usize,
}

/// Says what replacing the rules by `text` would change.
pub(super) fn preview(session: &Session, name: &str, text: &str) -> Answer {
    let (rules, warnings) = match parse_text(name, text, session.brain.ports()) {
        Ok(parsed) => parsed,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let mut store = session.brain.rules().clone();
    let difference = store.replace(rules);
    let pipeline = Arc::new(store.pipeline(Arc::clone(session.brain.ports())));
    let flows = session.forwarder.keeper().map(|keeper| {
        let ended = keeper.stale_under(&pipeline);
        let in_card = |id| session.brain.engine.flow(id).is_some_and(|f| f.place == Place::Card);
        FlowChanges {
            kept: keeper.flow_counts().0.saturating_sub(ended.len()),
            ended: ended.len(),
            ended_in_card: ended.into_iter().filter(|id| in_card(*id)).count(),
        }
    });
    ok(&told(&difference, flows, warnings))
}

/// Replaces the rules by `text`; a wrong line changes nothing.
pub(super) fn replace(session: &mut Session, name: &str, text: &str) -> Answer {
    let (rules, warnings) = match parse_text(name, text, session.brain.ports()) {
        Ok(parsed) => parsed,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let difference = session.brain.change(|store| store.replace(rules));
    let (kept, added) = (difference.kept, difference.added.len());
    let removed = difference.removed.len();
    settle(
        session,
        format!("rules replaced by {name}: {kept} kept, {added} added, {removed} removed"),
    );
    ok(&Replaced { dry_run: false, ..told(&difference, None, warnings) })
}

fn told(difference: &Difference, flows: Option<FlowChanges>, warnings: Vec<String>) -> Replaced {
    let texts =
        |rules: &[PlacedRule]| rules.iter().map(|placed| text_of(&placed.rule)).collect::<Vec<_>>();
    Replaced {
        dry_run: true,
        kept: difference.kept,
        added: texts(&difference.added),
        removed: texts(&difference.removed),
        flows,
        warnings,
    }
}

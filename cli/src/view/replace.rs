//! What replacing the rules changes, for people.

use crate::run::replace::Replaced;
use std::fmt::Write as _;

/// Rules of each kind shown; `--json` has all.
const SHOWN_MAX: usize = 10;

/// Rules that come and go, and what becomes of the flows.
pub(crate) fn summary(replaced: &Replaced) -> String {
    let mut text = String::new();
    for (sign, rules) in [('-', &replaced.removed), ('+', &replaced.added)] {
        for rule in rules.iter().take(SHOWN_MAX) {
            let _ = writeln!(text, "{sign} {rule}");
        }
        if let Some(more) = rules.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            let _ = writeln!(text, "{sign} … and {more} more (all: --json)");
        }
    }
    let (added, removed) = (replaced.added.len(), replaced.removed.len());
    let _ = writeln!(text, "rules    {} kept, {added} added, {removed} removed", replaced.kept);
    if let Some(flows) = replaced.flows {
        let _ = writeln!(
            text,
            "flows    {} stay as they are; {} end, {} of them in the card",
            flows.kept, flows.ended, flows.ended_in_card
        );
    }
    if replaced.dry_run {
        text += "dry run: nothing was changed\n";
    }
    text
}

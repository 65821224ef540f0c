//! What the card makes of a flow's steps: folded and judged once, not for every flow.

use crate::express::judge;
use crate::why::WhyNot;
use std::collections::HashMap;
use std::sync::Arc;
use twinpath_flow::card::ActionCaps;
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::port::PortTable;
use twinpath_flow::steps::{Flow, Step};

/// Lists of steps remembered; all are forgotten when there are more.
const KNOWN_MAX: usize = 4096;

/// The edit of a flow, or what the card lacks for it.
type Verdict = Result<Arc<Edit>, WhyNot>;

/// Judgements by input port and steps, which are all that they depend on.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    by_port: HashMap<u128, HashMap<Vec<Step>, Verdict>>,
    known: usize,
    /// The one asked for last: flows that come together are mostly alike.
    last: Option<(u128, Vec<Step>, Verdict)>,
}

impl Verdicts {
    /// The flow's edit if the card can do it.
    pub(crate) fn of(&mut self, flow: &Flow, can: &ActionCaps, ports: &PortTable) -> Verdict {
        let in_port = flow.matching.value.get(Field::InPort);
        if let Some((port, steps, verdict)) = &self.last
            && *port == in_port
            && *steps == flow.steps
        {
            return verdict.clone();
        }
        let verdict = self.look_up(in_port, flow, (can, ports));
        self.last = Some((in_port, flow.steps.clone(), verdict.clone()));
        verdict
    }

    fn look_up(
        &mut self,
        in_port: u128,
        flow: &Flow,
        (can, ports): (&ActionCaps, &PortTable),
    ) -> Verdict {
        let verdicts = self.by_port.get(&in_port);
        if let Some(verdict) = verdicts.and_then(|verdicts| verdicts.get(&flow.steps)) {
            return verdict.clone();
        }
        if self.known >= KNOWN_MAX {
            self.clear();
        }
        self.known += 1;
        let verdict = judge(flow, can, ports);
        self.by_port.entry(in_port).or_default().insert(flow.steps.clone(), verdict.clone());
        verdict
    }

    /// Forgets all: another card, or other ports.
    pub(crate) fn clear(&mut self) {
        self.by_port.clear();
        self.known = 0;
        self.last = None;
    }
}

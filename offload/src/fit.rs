//! Whether a card could hold a flow at all, whatever is in it now.

use crate::express::{judge, spots};
use crate::table::Table;
use crate::why::WhyNot;
use twinpath_flow::card::Capabilities;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::steps::Flow;

/// Whether an empty card with `capabilities` could hold `flow`, a flow of `pipeline`.
///
/// # Errors
/// The reason it would stay in software.
pub fn fits(flow: &Flow, capabilities: &Capabilities, pipeline: &Pipeline) -> Result<(), WhyNot> {
    let expires =
        |id| pipeline.iter().any(|placed| placed.id == id && placed.rule.idle_timeout > 0);
    if !capabilities.counters && flow.rules.iter().any(|id| expires(*id)) {
        return Err(WhyNot::NeedsCounters);
    }
    judge(flow, &capabilities.actions, &pipeline.ports)?;
    let tables: Vec<Table> = capabilities.tables.iter().cloned().map(Table::new).collect();
    spots(flow, None, &tables, Vec::new()).map(|_| ())
}

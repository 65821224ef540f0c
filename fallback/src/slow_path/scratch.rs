//! Memory of translations, kept from one to the next so that none is asked of the system.

use super::dimension::Level;
use super::state::State;
use twinpath_flow::key::MaskedKey;
use twinpath_flow::steps::Flow;

/// A way through a dimension of a table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    pub(super) is_walked: bool,
    /// Its levels.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A rule that won.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winner {
    pub(super) group: usize,
    pub(super) place: u32,
}

/// A packet in front of a table it has passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// The packet's state at the lookup.
    pub(super) state: State,
    /// The table.
    pub(super) table: u8,
    /// Group and place of the rule that won, if one matched.
    pub(super) winner: Option<Winner>,
    /// Its first path.
    pub(super) paths: usize,
}

/// Memory of [`super::SlowPath::translate_into`], with its last result.
#[derive(Debug)]
pub struct Scratch {
    pub(super) flow: Flow,
    pub(super) visits: Vec<Visit>,
    pub(super) paths: Vec<Path>,
    pub(super) levels: Vec<Level>,
    /// Groups that may match.
    pub(super) candidates: Vec<u64>,
    /// Rules that are not excluded yet.
    pub(super) open: Vec<u32>,
}

impl Default for Scratch {
    fn default() -> Self {
        let flow = Flow {
            matching: MaskedKey::default(),
            steps: Vec::new(),
            ttl_threshold: None,
            rules: Vec::new(),
        };
        Self {
            flow,
            visits: Vec::new(),
            paths: Vec::new(),
            levels: Vec::new(),
            candidates: Vec::new(),
            open: Vec::new(),
        }
    }
}

impl Scratch {
    /// Empties all, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.flow.steps.clear();
        self.flow.rules.clear();
        self.flow.ttl_threshold = None;
        self.visits.clear();
        self.paths.clear();
        self.levels.clear();
    }
}

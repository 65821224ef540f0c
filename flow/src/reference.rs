//! The executable specification: linear search, actions one by one on real bytes.

use crate::pipeline::Pipeline;
use crate::port::PortNo;
use crate::rule::RuleId;

/// Why a frame, or one copy of it, went nowhere by no rule's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Longer than the input port's `mtu_in`.
    MtuIn,
    /// The outer headers claim a tunnel and are wrong.
    MalformedTunnel,
    /// Longer than the `mtu_out` of this physical port.
    MtuOut(PortNo),
    /// This tunnel port could not encapsulate it.
    Encap(PortNo),
}

/// What became of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames sent, in order, each with the physical port.
    pub outputs: Vec<(PortNo, Vec<u8>)>,
    /// Rules hit, one per table passed, in order.
    pub rules: Vec<RuleId>,
    /// Copies for the controller ring, cut to what was asked for.
    pub controller: Vec<Vec<u8>>,
    /// Losses that no rule decided.
    pub losses: Vec<Cause>,
}

impl Outcome {
    /// Whether the rules sent the packet nowhere.
    #[must_use]
    pub fn is_drop(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// Runs one frame, received on physical port `in_port`, through the pipeline.
#[must_use]
pub fn process(pipeline: &Pipeline, frame: &[u8], in_port: PortNo) -> Outcome {
    let _ = (pipeline, frame, in_port);
    Outcome::default()
}

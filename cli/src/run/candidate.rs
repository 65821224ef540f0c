//! Whether another device would take a flow: for `--device`.

use serde::{Deserialize, Serialize};
use twinpath_flow::card::Capabilities;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{PortKind, PortTable};
use twinpath_flow::steps::Flow;
use twinpath_host_driver::{rocker, twin};
use twinpath_hw_sim::Profile;
use twinpath_offload::fit::fits;

/// Devices one may ask about: the profiles of the simulated card, and QEMU's rocker.
pub(crate) const NAMES: [&str; 5] = ["tiny", "small", "medium", "large", "rocker"];

/// Whether a device would take a flow, empty as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CandidateStory {
    /// The device.
    pub device: String,
    /// Whether it could hold the flow.
    pub fits: bool,
    /// Why not.
    pub why_not: Option<String>,
    /// What would get it there.
    pub remedy: Option<String>,
}

/// Judges a flow of `pipeline` by what `device` says of itself; `None` for a device unknown.
pub(crate) fn judge(device: &str, flow: &Flow, pipeline: &Pipeline) -> Option<CandidateStory> {
    let why_not = fits(flow, &capabilities(device, &pipeline.ports)?, pipeline).err();
    Some(CandidateStory {
        device: device.to_owned(),
        fits: why_not.is_none(),
        why_not: why_not.map(|why| why.to_string()),
        remedy: why_not.map(|why| why.remedy()),
    })
}

fn capabilities(device: &str, ports: &PortTable) -> Option<Capabilities> {
    if device == "rocker" {
        let physical = ports.iter().filter(|port| port.kind == PortKind::Physical).count();
        let physical = u16::try_from(physical).unwrap_or(u16::MAX);
        return Some(rocker::capabilities(&rocker::Settings::default(), physical));
    }
    let profile = Profile::named(device).ok()?;
    Some(twin::capabilities(&profile.capability(), 1))
}

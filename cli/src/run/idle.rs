//! A session without packets and without a card: for those who only ask it things.

use super::answer::answer;
use super::brain::Brain;
use super::forwarder::Forwarder;
use super::history::History;
use super::listing::Listings;
use super::session::Session;
use super::signals::Signals;
use super::software::Software;
use super::{Ends, open_ends};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::request::{Answer, Request};
use crate::live::Live;
use std::path::Path;
use std::sync::Arc;
use twinpath_flow::time::Time;
use twinpath_offload::Settings;

/// Two ports and a tunnel, nothing behind them.
const CONFIG: &str = r#"
device = "none"
[[port]]
number = 1
name = "left"
wire = "null"
[[port]]
number = 2
name = "right"
wire = "null"
[[port]]
number = 12
name = "gtp"
type = "gtpu"
over = 1
local_ip = "192.0.2.1"
remote_ip = "flow"
local_mac = "02:00:00:00:00:01"
peer_mac = "02:00:00:00:00:02"
"#;

/// The session.
#[derive(Debug)]
pub(crate) struct Idle(Session);

impl Idle {
    /// A session without rules.
    ///
    /// # Panics
    /// When the system has no descriptors left for the signals.
    pub(crate) fn new() -> Self {
        let config = Config::parse(Path::new("idle.toml"), CONFIG.into()).expect("fixed and right");
        let ports = open_ends(&config, Ends::Wires).expect("null wires open");
        let now = Time(0);
        let mut brain = Brain::new(Arc::clone(&config.ports), Vec::new(), Settings::default(), now);
        brain.settle(now, None);
        let settings = twinpath_fallback::Settings::default();
        let software = Software::new(settings, brain.generation(), Arc::clone(brain.pipeline()));
        Self(Session {
            config,
            ports,
            forwarder: Forwarder::Software(Box::new(software)),
            brain,
            history: History::new(),
            listings: Listings::default(),
            clock: Clock::start(),
            now,
            origin: Some(now),
            duration: None,
            server: None,
            signals: Signals::catch().expect("descriptors for a pair of sockets"),
            live: Live::new(),
            failure: None,
        })
    }

    /// Answers one request.
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        answer(&mut self.0, request)
    }
}

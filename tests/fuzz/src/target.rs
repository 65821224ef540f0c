//! The targets by name.

mod capture;
mod card;
mod client;
mod config;
mod control;
mod holder;
mod packet;
mod rules;
mod semantics;
mod server;
mod state;

/// A target: bytes in, a panic when something is wrong.
pub type Target = fn(&[u8]);

/// All of them.
pub const TARGETS: [(&str, Target); 11] = [
    ("packet", packet::run),
    ("semantics", semantics::run),
    ("rules", rules::run),
    ("capture", capture::run),
    ("config", config::run),
    ("control", control::run),
    ("holder", holder::run),
    ("server", server::run),
    ("client", client::run),
    ("card", card::run),
    ("state", state::run),
];

/// The target of that name.
#[must_use]
pub fn named(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|(known, _)| *known == name).map(|(_, target)| target)
}

//! The brain of Twinpath: wanted state, ledger, placement, counters, aging. Sans-I/O.
//!
//! - [`io`]: the whole alphabet, `Input` and `Output`; [`Engine`] turns one into the other under
//!   the contract *mutate, drain, mutate*. Time is an argument.
//! - [`why`]: why a flow is not in the card; [`view`]: what people may ask.
//! - [`event`]: what happened, for people.
//! - [`rules`]: the wanted rules and their identities, a value beside the engine.
#![forbid(unsafe_code)]

pub mod adopt;
mod arrivals;
mod budget;
mod change;
mod closing;
mod coarse;
mod cold;
mod complete;
mod count;
pub mod engine;
mod entries;
pub mod event;
mod evict;
mod express;
pub mod fit;
mod flows;
mod heat;
mod host_time;
pub mod io;
mod ledger;
mod masks;
mod match_index;
mod place;
mod query;
pub mod reasons;
pub mod reconcile;
mod round;
mod rule_book;
pub mod rules;
mod sampled;
mod seen;
pub mod shadow;
mod slab;
mod sweeps;
mod table;
mod tally;
mod under_way;
mod verdicts;
mod verify;
pub mod view;
mod wanting;
mod wheel;
pub mod why;

pub use engine::Engine;
pub use event::EngineEvent;
pub use io::{Input, Output};
pub use rules::RuleStore;
pub use view::{FlowView, Place, Settings};
pub use why::WhyNot;

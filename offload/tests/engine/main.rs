//! The engine in a small world: a scripted card, a simple software path, packets.

mod aging;
mod faults;
mod heat;
mod model;
mod placement;
mod random_life;
mod reconcile;
mod timeouts;

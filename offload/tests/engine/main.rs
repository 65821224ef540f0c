//! The engine in a small world: a scripted card, a simple software path, packets.

mod faults;
mod model;
mod random_life;
mod timeouts;

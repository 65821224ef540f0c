//! Faults of a simulated card, on purpose: each class at a rate, and as scripted events.
//!
//! A [`Plan`] is an argument of the card ([`crate::Card::set_faults`]): rates by class, a script, and
//! the seed all draws come from, so that a card with the same plan and calls does the same. What a
//! class does, and what is one chance of it, [`Class::describe`] and `docs/faults.md` say. A card
//! without a plan pays one test of a null pointer where a fault could be.

mod card;
mod class;
mod plan;
mod state;

pub use class::{CLASSES, Chance, Class, UnknownClass};
pub use plan::{Incident, Plan, PlanError, Rate};
pub(crate) use state::Faults;
pub use state::Fired;

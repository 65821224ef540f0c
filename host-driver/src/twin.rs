//! Driver of Twinpath's reference card, the twin, over any `Bus`.

mod encode;
mod gate;
mod placement;
mod ring;
mod roster;
mod settings;
pub use settings::Settings;

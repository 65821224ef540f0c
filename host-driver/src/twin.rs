//! Driver of Twinpath's reference card, the twin, over any `Bus`.

mod placement;
mod ring;

//! `twinpath bench`: what the software path does on this machine, without any wire.

mod cycles;
pub(crate) mod forward;
mod frames;
mod ports;
mod source;
mod stages;
mod worker;

pub(crate) use source::Layout;

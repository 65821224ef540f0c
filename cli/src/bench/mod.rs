//! `twinpath bench`: what the software path does on this machine, without any wire.

pub(crate) mod forward;
mod frames;
mod source;

pub(crate) use source::Layout;

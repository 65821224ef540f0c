//! Descriptors that outlive this process: systemd's store, or a small process, `twinpath hold`.
//!
//! What a card needs to go on (its connection or device, DMA memory, interrupts) is given away when
//! it is attached, not at the end: a process that is killed has no time for it.
//!
//! - [`message`]: the words of both, bytes only; `wire`: one datagram with one descriptor.
//! - `holder`: the process that holds; [`store`]: the daemon's end, for either; `inherited`: what
//!   systemd gave us.

pub(crate) mod holder;
mod inherited;
pub mod message;
pub mod store;
mod wire;

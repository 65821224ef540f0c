//! The software path: what decides packets that no card decided, and the frames' buffers.
//!
//! From the bottom up:
//!
//! - [`packet`]: frame buffers with headroom, and the pool they come from.
//! - [`ring`]: a queue between two threads, for packets that leave by another worker's port;
//!   [`sleep`]: who must be woken for it.
//! - [`outbox`]: what processing a burst produces: frames to send, flows made, and so on.
//! - [`settings`]: limits and seeds.
//! - [`slow_path`]: makes flows; `compiled`: their steps as programs; `store`, `tuple_space`,
//!   `exact_cache`: where they are kept and found; `quick`, `quick_tunnel`, [`reading`]: the
//!   commonest frames; [`kernel`]: instructions.
//! - [`software_path`]: owns the flows; bursts in, [`outbox::Outbox`] out.
//! - [`wire`]: where frames come from and go to.

mod compiled;
mod exact_cache;
mod hash;
mod isa;
pub mod kernel;
pub mod outbox;
pub mod packet;
pub mod prefetch;
mod quick;
mod quick_tunnel;
pub mod reading;
mod recipe;
pub mod ring;
mod rule_list;
pub mod settings;
mod shape;
mod slab;
pub mod sleep;
pub mod slow_path;
pub mod software_path;
mod store;
mod sync;
mod tuple_space;
pub mod wire;

pub use kernel::Kernel;
pub use outbox::Outbox;
pub use packet::{Packet, PacketPool};
pub use settings::Settings;
pub use software_path::SoftwarePath;

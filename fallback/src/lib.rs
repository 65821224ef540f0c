//! The software path: what decides packets that no card decided, and the frames' buffers.
//!
//! From the bottom up:
//!
//! - [`packet`]: frame buffers with headroom, and the pool they come from.
//! - [`outbox`]: what processing a burst produces: frames to send, flows made, and so on.
//! - [`settings`]: limits and seeds.
//! - [`software_path`]: owns the flows; bursts in, [`outbox::Outbox`] out.
//! - [`wire`]: where frames come from and go to.

pub mod outbox;
pub mod packet;
pub mod settings;
pub mod software_path;
pub mod wire;

pub use outbox::Outbox;
pub use packet::{Packet, PacketPool};
pub use settings::Settings;
pub use software_path::SoftwarePath;

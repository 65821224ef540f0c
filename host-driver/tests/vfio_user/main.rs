//! Both ends of vfio-user against peers that are not ours: rust-vmm's `vfio_user`, and hostile
//! ones made of bytes.
#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

mod hostile_clients;
mod hostile_servers;
mod rust_vmm_client;
mod rust_vmm_server;
mod served;

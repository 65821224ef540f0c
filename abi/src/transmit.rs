//! Part of `docs/nic-abi.md`.

//! Captures read back.

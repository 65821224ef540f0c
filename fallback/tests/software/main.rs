//! The software path against the specification.

mod bench;
mod equal_to_reference;
mod large_tables;
mod masks;
mod rule_changes;

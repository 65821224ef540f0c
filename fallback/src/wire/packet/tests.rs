//! Tests on veth pairs.

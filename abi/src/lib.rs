//! Contract with the twin card.
#![forbid(unsafe_code)]

//! The software path.

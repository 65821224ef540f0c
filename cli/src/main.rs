//! `twinpath`, the command.

mod args;
mod clock;
mod config;
mod control;
mod failure;
mod near;

fn main() {}

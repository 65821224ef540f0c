//! What the command `twinpath` is made of: threads, event loop, clock, configuration, control socket,
//! views. A library so that tests can drive what a run is made of; nothing else is offered.
//!
//! - `args`: the command line; `command`: what each word does; [`run`]: a run.
//! - `config`: the configuration file; `control`: the socket to the running process.
//! - `statistics`: what the numbers are; `view`, `live`, `output`: how they are shown.
//! - [`hold`]: descriptors that outlive the process.
//! - `account`: users and groups; `privileges`: what a run gives up.
//! - `clock`: the one place that reads the clock; `failure`: exit codes.
//! - [`hostile`]: what strangers hand in, as plain calls, for the fuzz targets.

mod account;
mod args;
mod bench;
mod clock;
mod command;
mod config;
mod control;
mod failure;
pub mod hold;
pub mod hostile;
mod live;
mod near;
mod output;
mod privileges;
mod reproducer;
pub mod run;
mod statistics;
mod view;

use clap::Parser as _;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// What is logged unless TWINPATH_LOG says otherwise. What vfio-ioctls complains of is either in our
/// own errors or of no importance: a function without error events, a group left while closing.
const LOG: &str = "warn,vfio_ioctls=off";

/// Does what the command line says.
#[must_use]
pub fn execute() -> ExitCode {
    let arguments = args::Arguments::parse();
    let filter = EnvFilter::try_from_env("TWINPATH_LOG").unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
    let Err(failure) = command::execute(&arguments) else { return ExitCode::SUCCESS };
    let (code, line) = failure.report();
    if let Some(line) = line {
        // Standard error may be closed; the exit code still tells.
        let _ = writeln!(stderr(), "{line}");
    }
    ExitCode::from(code)
}

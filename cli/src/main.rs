//! `twinpath`, the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    twinpath_cli::execute()
}

//! How a command ends when it does not end well: whose fault it was decides the exit code.

use crate::config::ConfigError;
use std::io;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Usage, configuration or rule text: exit code 2.
    Input(anyhow::Error),
    /// Something failed at run time: exit code 1.
    Run(anyhow::Error),
    /// Nobody reads our standard output any more: a quiet end, exit code 0, as ripgrep does.
    ClosedOutput,
}

impl Failure {
    /// A fault of the caller's input.
    pub(crate) fn input(error: impl Into<anyhow::Error>) -> Self {
        Self::Input(error.into())
    }

    /// A fault at run time.
    pub(crate) fn run(error: impl Into<anyhow::Error>) -> Self {
        Self::Run(error.into())
    }

    /// What writing to standard output reported.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedOutput
        } else {
            Self::Run(anyhow::Error::from(error).context("standard output: cannot write"))
        }
    }

    /// The exit code, and the line for standard error.
    pub(crate) fn report(&self) -> (u8, Option<String>) {
        match self {
            Self::Input(error) => (2, Some(format!("twinpath: {error:#}"))),
            Self::Run(error) => (1, Some(format!("twinpath: {error:#}"))),
            Self::ClosedOutput => (0, None),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::input(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_a_quiet_success_and_a_full_disk_is_not() {
        let closed = Failure::output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.report(), (0, None));
        let (code, line) = Failure::output(io::Error::from(io::ErrorKind::StorageFull)).report();
        assert_eq!(code, 1);
        assert!(line.unwrap().starts_with("twinpath: standard output: cannot write: "));
    }
}

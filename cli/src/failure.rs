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
            Self::Input(error) => (2, Some(format!("twinpath: {}", told(error)))),
            Self::Run(error) => (1, Some(format!("twinpath: {}", told(error)))),
            Self::ClosedOutput => (0, None),
        }
    }
}

/// The error and its causes in one line, without those that it names itself.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    })
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

    #[test]
    fn every_cause_is_told_once() {
        let read = || ConfigError::Read {
            path: "nope.toml".into(),
            source: io::Error::from_raw_os_error(2),
        };
        let line = Failure::from(read()).report().1.unwrap();
        assert_eq!(
            line,
            "twinpath: nope.toml: cannot read: No such file or directory (os error 2)"
        );
        let outer = anyhow::Error::from(read()).context("while starting");
        let line = Failure::Run(outer).report().1.unwrap();
        assert!(line.starts_with("twinpath: while starting: nope.toml: cannot read: "), "{line}");
    }
}

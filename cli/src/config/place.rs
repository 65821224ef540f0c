//! Where in a configuration file something stands, and what is wrong there.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use twinpath_fallback::wire::{WireError, WireSpecError};
use twinpath_flow::port::PortTableError;

/// File, line and column, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    path: PathBuf,
    line: usize,
    column: usize,
}

impl Place {
    /// The place of the first byte of `span` in `text`.
    pub(crate) fn of(path: &Path, text: &str, span: &Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// What is wrong with a value or key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Not TOML, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A key that means nothing here.
    #[error("unknown key {key:?} in {table}{}", crate::config::place::hint(.nearest))]
    UnknownKey {
        /// As written.
        key: String,
        /// Where.
        table: &'static str,
        /// The nearest known key.
        nearest: Option<&'static str>,
    },
    /// A word that is not one of those expected.
    #[error("unknown {what} {given:?}{}; expected {expected}", crate::config::place::hint(.nearest))]
    UnknownWord {
        /// What the word stands for.
        what: &'static str,
        /// As written.
        given: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
        /// All known words.
        expected: &'static str,
    },
    /// What follows `vfio:` is no address.
    #[error(transparent)]
    Address(#[from] twinpath_host_driver::pci::AddressError),
    /// A key that must be there.
    #[error("{table} needs {key:?}")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Where.
        table: &'static str,
    },
    /// A key that has no meaning for this kind of port.
    #[error("{key:?} has no meaning for a {kind} port")]
    KeyOfOther {
        /// The key.
        key: &'static str,
        /// The kind of port.
        kind: &'static str,
    },
    /// A value outside its range or form.
    #[error("{what} {given:?} is not {expected}")]
    Value {
        /// What the value stands for.
        what: &'static str,
        /// As written.
        given: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The ports do not go together.
    #[error(transparent)]
    Ports(#[from] PortTableError),
    /// The text of a wire.
    #[error(transparent)]
    WireSpec(#[from] WireSpecError),
    /// The wire cannot be used.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Two wires write the same file or own the same interface.
    #[error("{claim} is already used by the wire of port {other}")]
    ClaimedTwice {
        /// File or interface.
        claim: String,
        /// The port that uses it.
        other: u16,
    },
    /// A wire reads what another, or itself, writes.
    #[error("{file} is written by the wire of port {writer}, which would destroy what is read")]
    ReadAndWritten {
        /// File.
        file: String,
        /// The port that writes it.
        writer: u16,
    },
    /// The simulated card cannot be so.
    #[error(transparent)]
    Profile(#[from] twinpath_hw_sim::profile::ProfileError),
    /// Too many ports, or none.
    #[error("{given} physical ports; device {device:?} takes {expected}")]
    PortCount {
        /// Ports given.
        given: usize,
        /// The device.
        device: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

/// "did you mean" in parentheses, or nothing.
pub(crate) fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |word| format!(" (did you mean {word:?}?)"))
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{place}: {fault}")]
    At {
        /// Where.
        place: Place,
        /// What.
        fault: Fault,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "a = 1\nä = \"x\" # y\n";
        let place = |start| Place::of(Path::new("c.toml"), text, &(start..start)).to_string();
        assert_eq!(place(0), "c.toml:1:1");
        assert_eq!(place(6), "c.toml:2:1");
        assert_eq!(place(11), "c.toml:2:5");
        assert_eq!(place(999), "c.toml:3:1");
    }
}

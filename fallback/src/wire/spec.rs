//! The text of a `wire = "…"` line: `pcap:in=FILE,out=FILE`, `tap:NAME`, `packet:IFACE`,
//! `xdp:IFACE`, `gen:flows=…,…`, `null`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::generator::spec::GeneratorSpec;
use super::packet::spec::PacketSpec;
use super::parameters::{Parameters, nearest};
use super::xdp::spec::XdpSpec;
use super::{Opened, WireError};

/// Longest interface name: IFNAMSIZ less the closing zero.
const INTERFACE_NAME_MAX: usize = 15;
const KINDS: [&str; 6] = ["pcap", "tap", "packet", "xdp", "gen", "null"];

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
    Packet(PacketSpec),
    /// An AF_XDP socket on an existing interface.
    Xdp(XdpSpec),
    /// Makes frames.
    Generator(GeneratorSpec),
    /// Sends nothing, swallows everything.
    Null,
}

/// Why a wire specification was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireSpecError {
    /// No such kind of wire.
    #[error(
        "unknown wire kind {given:?}{}; expected pcap, tap, packet, xdp, gen or null",
        hint(.nearest)
    )]
    UnknownKind {
        /// What was written.
        given: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
    },
    /// No such parameter.
    #[error("{kind}: unknown parameter {given:?}{}; known: {known}", hint(.nearest))]
    UnknownParameter {
        /// Kind of wire.
        kind: &'static str,
        /// What was written.
        given: String,
        /// The nearest known word.
        nearest: Option<&'static str>,
        /// All known words.
        known: String,
    },
    /// A parameter without `=`.
    #[error("{kind}: parameter {parameter:?} has no value; expected {parameter}=VALUE")]
    NoValue {
        /// Kind of wire.
        kind: &'static str,
        /// What was written.
        parameter: String,
    },
    /// A parameter that is written twice.
    #[error("{kind}: parameter {parameter:?} is given twice")]
    Twice {
        /// Kind of wire.
        kind: &'static str,
        /// Its name.
        parameter: String,
    },
    /// A value that cannot be read.
    #[error("{kind}: {parameter}={value:?} is not valid; expected {expected}")]
    BadValue {
        /// Kind of wire.
        kind: &'static str,
        /// Its name.
        parameter: &'static str,
        /// What was written.
        value: String,
        /// What should have been written.
        expected: &'static str,
    },
    /// A name the kernel would not take.
    #[error(
        "{kind}: {name:?} is not an interface name; expected 1 to 15 characters without / and blanks"
    )]
    InterfaceName {
        /// Kind of wire.
        kind: &'static str,
        /// What was written.
        name: String,
    },
    /// Values that do not go together.
    #[error("{kind}: {reason}")]
    Conflict {
        /// Kind of wire.
        kind: &'static str,
        /// What does not go with what.
        reason: &'static str,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |word| format!(" (did you mean {word:?}?)"))
}

impl FromStr for WireSpec {
    type Err = WireSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind.trim() {
            "pcap" => parse_pcap(rest),
            "tap" => Ok(Self::Tap { name: interface_name("tap", rest)? }),
            "packet" => rest.parse().map(Self::Packet),
            "xdp" => rest.parse().map(Self::Xdp),
            "gen" => rest.parse().map(Self::Generator),
            "null" if rest.is_empty() => Ok(Self::Null),
            "null" => Parameters::split("null", rest)
                .and_then(|parameters| parameters.expect_only(&[]))
                .map(|()| Self::Null),
            other => Err(WireSpecError::UnknownKind {
                given: other.to_owned(),
                nearest: nearest(other, &KINDS),
            }),
        }
    }
}

fn parse_pcap(text: &str) -> Result<WireSpec, WireSpecError> {
    let parameters = Parameters::split("pcap", text)?;
    parameters.expect_only(&["in", "out"])?;
    let path = |name| {
        let expected = "the path of a capture";
        parameters.read(name, expected, None, |text| (!text.is_empty()).then(|| Some(text.into())))
    };
    let (input, output): (Option<PathBuf>, Option<PathBuf>) = (path("in")?, path("out")?);
    if input.is_some() && input == output {
        return Err(WireSpecError::Conflict {
            kind: "pcap",
            reason: "in and out are the same file; writing would destroy what is read",
        });
    }
    Ok(WireSpec::Pcap { input, output })
}

pub(super) fn interface_name(kind: &'static str, text: &str) -> Result<String, WireSpecError> {
    let fits = (1..=INTERFACE_NAME_MAX).contains(&text.len());
    let bad = |byte: u8| byte == b'/' || byte == b'%' || byte == 0 || byte.is_ascii_whitespace();
    if !fits || text == "." || text == ".." || text.bytes().any(bad) {
        return Err(WireSpecError::InterfaceName { kind, name: text.to_owned() });
    }
    Ok(text.to_owned())
}

impl fmt::Display for WireSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap { name } => write!(formatter, "tap:{name}"),
            Self::Packet(spec) => write!(formatter, "{spec}"),
            Self::Pcap { input, output } => {
                let mut parts = Vec::new();
                parts.extend(input.as_ref().map(|path| format!("in={}", path.display())));
                parts.extend(output.as_ref().map(|path| format!("out={}", path.display())));
                write!(formatter, "pcap:{}", parts.join(","))
            }
            Self::Xdp(spec) => write!(formatter, "{spec}"),
            Self::Generator(spec) => write!(formatter, "{spec}"),
            Self::Null => write!(formatter, "null"),
        }
    }
}

/// One name for a file however it is written: links and dots resolved as far as they exist.
fn one_name(path: &Path) -> String {
    let folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    let name = path.canonicalize().ok().or_else(folder);
    name.as_deref().unwrap_or(path).display().to_string()
}

impl WireSpec {
    /// Whether the wire will bring its own time; when all do, the run's time is virtual.
    #[must_use]
    pub const fn is_virtual(&self) -> bool {
        !matches!(self, Self::Tap { .. } | Self::Packet(_) | Self::Xdp(_))
    }

    /// The file it reads, in the words of [`Self::claims`]: no wire may claim it.
    #[must_use]
    pub fn source(&self, base: &Path) -> Option<String> {
        match self {
            Self::Pcap { input: Some(path), .. } => Some(one_name(&base.join(path))),
            _ => None,
        }
    }

    /// What only one wire may hold (output files, interfaces), as text; two ports that name the same
    /// are a configuration error. Relative paths are taken from `base`.
    #[must_use]
    pub fn claims(&self, base: &Path) -> Vec<String> {
        match self {
            Self::Pcap { output: Some(path), .. } => vec![one_name(&base.join(path))],
            Self::Tap { name } => vec![format!("interface {name}")],
            Self::Packet(spec) => vec![format!("interface {}", spec.interface)],
            Self::Xdp(spec) => vec![format!("interface {}", spec.interface)],
            _ => Vec::new(),
        }
    }

    /// Checks without side effects what can be checked before any output is created: that the input
    /// capture exists and is whole. Relative paths are taken from `base`.
    ///
    /// # Errors
    /// As [`WireSpec::open`].
    pub fn check(&self, base: &Path) -> Result<(), WireError> {
        match self {
            Self::Pcap { input: Some(path), .. } => super::pcap::check(&base.join(path)),
            _ => Ok(()),
        }
    }

    /// Opens the wire; relative paths are taken from `base` (the folder of the configuration file).
    ///
    /// # Errors
    /// The file or interface cannot be used; the message names it and the remedy.
    pub fn open(&self, base: &Path) -> Result<Opened, WireError> {
        match self {
            Self::Pcap { input, output } => {
                let (input, output) =
                    (input.as_ref().map(|p| base.join(p)), output.as_ref().map(|p| base.join(p)));
                super::pcap::open(input.as_deref(), output.as_deref())
            }
            Self::Tap { name } => super::tap::open(name),
            Self::Packet(spec) => super::packet::open(spec),
            Self::Xdp(spec) => super::xdp::open(spec),
            Self::Generator(spec) => Ok(Opened::quiet(super::generator::Generator::new(spec))),
            Self::Null => Ok(Opened::quiet(super::null::Null::default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        text.parse::<WireSpec>().unwrap_err().to_string()
    }

    #[test]
    fn every_kind_prints_as_it_was_written() {
        for text in [
            "pcap:in=a.pcap,out=b.pcapng",
            "pcap:out=b",
            "pcap:",
            "tap:tap0",
            "packet:eth0",
            "packet:eth0,receive=blocks",
            "xdp:eth0",
            "xdp:eth0,queue=3,mode=skb,busy-poll=20",
            "null",
        ] {
            assert_eq!(text.parse::<WireSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn slips_are_answered_with_the_nearest_word() {
        assert!(message("pcpa:in=a").contains("did you mean \"pcap\"?"), "{}", message("pcpa:"));
        assert!(message("pcap:inn=a").contains("did you mean \"in\"?"));
        assert!(message("gen:flwos=1").contains("did you mean \"flows\"?"));
        assert!(message("null:x=1").contains("unknown parameter \"x\""));
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        assert!(message("pcap:in=a,out=a").contains("same file"));
        assert!(message("pcap:in=a,in=b").contains("twice"));
        assert!(message("pcap:in").contains("no value"));
        assert!(message("pcap:in=").contains("expected the path"));
        assert!(message("tap:").contains("interface name"));
        assert!(message("tap:a/b").contains("interface name"));
        assert!(message("xdp:").contains("interface name"));
        assert!(message("xdp:e,mode=fast").contains("expected auto, zerocopy, copy or skb"));
        assert!(message("xdp:e,quue=1").contains("did you mean \"queue\"?"));
        assert!(message("packet:abcdefghijklmnop").contains("1 to 15"));
        assert!(message("packet:e,receive=fast").contains("expected calls or blocks"));
    }

    #[test]
    fn only_outputs_and_interfaces_are_claimed() {
        let spec: WireSpec = "pcap:in=a,out=b".parse().unwrap();
        assert_eq!(spec.claims(Path::new("/c")), ["/c/b"]);
        let spec: WireSpec = "tap:t0".parse().unwrap();
        assert_eq!(spec.claims(Path::new("/c")), ["interface t0"]);
    }
}

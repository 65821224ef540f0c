//! The text of an AF_XDP wire: `xdp:IFACE[,queue=N][,mode=MODE][,busy-poll=MICROSECONDS]`.

use std::fmt;
use std::str::FromStr;

use super::super::parameters::Parameters;
use super::super::spec::{WireSpecError, interface_name};

/// How frames get from the driver to the packet buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The fastest that the driver can do.
    #[default]
    Auto,
    /// The driver's hardware writes into the packet buffers.
    ZeroCopy,
    /// The driver copies.
    Copy,
    /// The system's stack copies: any driver.
    Stack,
}

const MODES: [(&str, Mode); 4] = [
    ("auto", Mode::Auto),
    ("zerocopy", Mode::ZeroCopy),
    ("copy", Mode::Copy),
    ("skb", Mode::Stack),
];

/// An AF_XDP wire as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpSpec {
    /// Interface name.
    pub interface: String,
    /// Receive and transmit queue of the interface.
    pub queue: u32,
    /// How frames are handed over.
    pub mode: Mode,
    /// Microseconds that a call polls the driver; 0 leaves it to interrupts.
    pub busy_poll: u32,
}

impl FromStr for XdpSpec {
    type Err = WireSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (interface, rest) = text.split_once(',').unwrap_or((text, ""));
        let interface = interface_name("xdp", interface)?;
        let parameters = Parameters::split("xdp", rest)?;
        parameters.expect_only(&["queue", "mode", "busy-poll"])?;
        let number = |name, expected| parameters.read(name, expected, 0, |text| text.parse().ok());
        let find = |text: &str| MODES.iter().find(|(word, _)| *word == text).map(|(_, mode)| *mode);
        Ok(Self {
            interface,
            queue: number("queue", "the number of a queue, from 0")?,
            mode: parameters.read("mode", "auto, zerocopy, copy or skb", Mode::Auto, find)?,
            busy_poll: number("busy-poll", "microseconds; 0 is none")?,
        })
    }
}

impl fmt::Display for XdpSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "xdp:{}", self.interface)?;
        if self.queue != 0 {
            write!(formatter, ",queue={}", self.queue)?;
        }
        if let Some((word, _)) = MODES.iter().skip(1).find(|(_, mode)| *mode == self.mode) {
            write!(formatter, ",mode={word}")?;
        }
        if self.busy_poll != 0 {
            write!(formatter, ",busy-poll={}", self.busy_poll)?;
        }
        Ok(())
    }
}

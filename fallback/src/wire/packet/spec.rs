//! The text of a packet wire: `packet:IFACE[,receive=HOW]`.

use std::fmt;
use std::str::FromStr;

use super::super::parameters::Parameters;
use super::super::spec::{WireSpecError, interface_name};

/// How frames come from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reception {
    /// By calls, each frame as soon as it is there.
    #[default]
    Calls,
    /// In shared blocks, handed over when full or after a millisecond.
    Blocks,
}

/// A packet wire as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketSpec {
    /// Interface name.
    pub interface: String,
    /// How frames come from the kernel.
    pub reception: Reception,
}

impl FromStr for PacketSpec {
    type Err = WireSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (interface, rest) = text.split_once(',').unwrap_or((text, ""));
        let interface = interface_name("packet", interface)?;
        let parameters = Parameters::split("packet", rest)?;
        parameters.expect_only(&["receive"])?;
        let find = |text: &str| match text {
            "calls" => Some(Reception::Calls),
            "blocks" => Some(Reception::Blocks),
            _ => None,
        };
        let reception = parameters.read("receive", "calls or blocks", Reception::Calls, find)?;
        Ok(Self { interface, reception })
    }
}

impl fmt::Display for PacketSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "packet:{}", self.interface)?;
        match self.reception {
            Reception::Calls => Ok(()),
            Reception::Blocks => formatter.write_str(",receive=blocks"),
        }
    }
}

//! The configuration of a run: read, checked and resolved before anything is opened.

mod faults;
mod place;
mod placement;
mod port;
mod raw;
mod recovery;
mod security;
mod shadow;
mod value;
mod workers;

pub(crate) use faults::Faults;
pub(crate) use place::{ConfigError, Fault, Place};
pub(crate) use placement::Placement;
pub(crate) use security::{Parties, Security};
pub(crate) use shadow::Shadow;
pub(crate) use workers::{Poll, WORKERS_MAX};

use crate::hold::store as hold;
use crate::near::nearest;
use crate::run::recovery::Limits;
use raw::{Located, RawConfig};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use twinpath_fallback::Kernel;
use twinpath_fallback::wire::WireSpec;
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_host_driver::pci::Address;
use twinpath_host_driver::rocker::Ipv4Header;

/// What forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// The card at that address, through VFIO.
    Vfio(Address),
    /// The twin card that another process serves on [`Config::socket`].
    VfioUser,
    /// The simulated card in this process.
    Sim,
    /// The software path alone.
    None,
    /// The interpreter of `flow`.
    Reference,
}

impl Device {
    /// As the configuration writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vfio(_) => "vfio",
            Self::VfioUser => "vfio-user",
            Self::Sim => "sim",
            Self::None => "none",
            Self::Reference => "reference",
        }
    }
}

/// Profile of the simulated card and what the configuration changes in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sim {
    /// Name of the profile, and where it stands for complaints.
    pub profile: Option<(String, Range<usize>)>,
    /// What the configuration changes in it: name, value, place.
    pub overrides: Vec<(&'static str, u64, Range<usize>)>,
    /// What goes wrong in it.
    pub faults: Faults,
}

/// A physical port's connection to the world, not yet opened.
#[derive(Clone, Debug)]
pub(crate) struct PortWire {
    /// The port.
    pub number: PortNo,
    /// Its wire.
    pub wire: WireSpec,
    /// The wire that goes on when the card's function is gone.
    pub standby: Option<WireSpec>,
    place: Place,
}

/// A checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file.
    pub path: PathBuf,
    /// What relative paths in it are relative to.
    pub folder: PathBuf,
    /// What forwards.
    pub device: Device,
    /// Socket of a card in another process, resolved.
    pub socket: Option<PathBuf>,
    /// Rule file, resolved.
    pub rules: Option<PathBuf>,
    /// Where `rules` stands.
    pub rules_place: Option<Place>,
    /// Queues of a card; without one, threads that forward.
    pub workers: u16,
    /// CPUs of those threads; empty for any.
    pub cpus: Vec<u16>,
    /// What they do without work.
    pub poll: Poll,
    /// Instructions that software forwards with; the best there are when not said.
    pub kernel: Option<Kernel>,
    /// Control socket, resolved.
    pub control: Option<PathBuf>,
    /// Whom the run becomes, and who may talk to it.
    pub security: Security,
    /// Where descriptors are kept for a next process.
    pub hold: Option<hold::Place>,
    /// Where rules and counters are, resolved.
    pub state: Option<PathBuf>,
    /// Simulated card.
    pub sim: Sim,
    /// What flows a rocker switch may hold.
    pub ipv4_header: Ipv4Header,
    /// How much of what the card forwards is checked.
    pub shadow: Shadow,
    /// How much moving flows in and out of the card may cost.
    pub placement: Placement,
    /// How much failing of a card is put up with.
    pub recovery: Limits,
    /// For how long a living card may stand still.
    pub standstill: Duration,
    /// All ports.
    pub ports: Arc<PortTable>,
    /// Wires of the physical ports, ascending by port number.
    pub wires: Vec<PortWire>,
    text: String,
}

impl Config {
    /// Reads and checks the file at `path`; touches nothing else but to look whether what it names
    /// is there.
    ///
    /// # Errors
    /// The place and what is wrong there.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config = Self::parse(path, text)?;
        config.check_wires()?;
        Ok(config)
    }

    /// Checks `text` as the contents of `path`, looking at no other file.
    ///
    /// # Errors
    /// The place and what is wrong there.
    pub(crate) fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let at = |(span, fault): Located| ConfigError::At {
            place: Place::of(path, &text, &span),
            fault,
        };
        let raw = raw::read(&text).map_err(at)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let device = device(&raw).map_err(at)?;
        let sim = sim(&raw).map_err(at)?;
        let ipv4_header = ipv4_header(&raw).map_err(at)?;
        let shadow = Shadow::read(&raw, &folder).map_err(at)?;
        let placement = Placement::read(&raw).map_err(at)?;
        let recovery = recovery::read(&raw).map_err(at)?;
        let standstill = recovery::standstill(&raw, device).map_err(at)?;
        let security = Security::read(&raw).map_err(at)?;
        let count = workers::count(&raw).map_err(at)?;
        let cpus = workers::cpus(&raw).map_err(at)?;
        let poll = workers::poll(&raw).map_err(at)?;
        let kernel = workers::kernel(&raw).map_err(at)?;
        let ports = port::table(&raw.port).map_err(at)?;
        let mut wires = Vec::new();
        for raw_port in &raw.port {
            if let Some(wire) = port::wire(raw_port.get_ref(), path, &text).map_err(at)? {
                wires.push(wire);
            }
        }
        wires.sort_by_key(|wire| wire.number);
        if wires.is_empty() || (device == Device::Sim && !(2..=64).contains(&wires.len())) {
            return Err(at((0..0, port_count(device, wires.len()))));
        }
        let place = |spanned: &Spanned<PathBuf>| Place::of(path, &text, &spanned.span());
        Ok(Self {
            path: path.to_owned(),
            device,
            socket: socket(&raw).map(|socket| folder.join(socket)),
            rules: raw.rules.as_ref().map(|rules| folder.join(rules.get_ref())),
            rules_place: raw.rules.as_ref().map(place),
            workers: count,
            cpus,
            poll,
            hold: hold(&raw, device, &folder).map_err(at)?,
            state: raw.state.as_ref().map(|state| folder.join(state.get_ref())),
            kernel,
            control: raw.control.map(|control| folder.join(control.into_inner())),
            security,
            sim,
            ipv4_header,
            shadow,
            placement,
            recovery,
            standstill,
            ports: Arc::new(ports),
            wires,
            folder,
            text,
        })
    }

    /// The file as it is.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The name people know the run by: the file's name without its end.
    pub(crate) fn name(&self) -> String {
        self.path
            .file_stem()
            .map_or_else(|| "twinpath".into(), |stem| stem.to_string_lossy().into())
    }

    /// The device as people write it.
    pub(crate) fn device_text(&self) -> String {
        match (self.device, &self.socket) {
            (Device::Vfio(address), _) => format!("vfio:{address}"),
            (Device::VfioUser, Some(socket)) => format!("vfio-user:{}", socket.display()),
            (device, _) => device.name().to_owned(),
        }
    }

    /// The state file: as configured, else beside the holder's socket, else in the folder that
    /// systemd gives the unit, else in that of control sockets.
    pub(crate) fn state_path(&self) -> PathBuf {
        let name = format!("{}.state", self.name());
        match (&self.state, &self.hold) {
            (Some(path), _) => path.clone(),
            (None, Some(hold::Place::Holder(socket))) => socket.with_file_name(name),
            (None, _) => {
                let folder = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
                folder.unwrap_or_else(crate::control::path::folder).join(name)
            }
        }
    }

    /// The error of something that stands at `span`.
    pub(crate) fn at(&self, span: &Range<usize>, fault: Fault) -> ConfigError {
        ConfigError::At { place: Place::of(&self.path, &self.text, span), fault }
    }

    /// Looks, without side effects, whether every wire can be opened and none is used twice.
    fn check_wires(&self) -> Result<(), ConfigError> {
        if matches!(self.device, Device::Vfio(_)) {
            return Ok(()); // The card has cables.
        }
        let mut claims: Vec<(String, u16)> = Vec::new();
        for wire in &self.wires {
            let at = |fault| ConfigError::At { place: wire.place.clone(), fault };
            for claim in wire.wire.claims(&self.folder) {
                if let Some((_, other)) = claims.iter().find(|(earlier, _)| *earlier == claim) {
                    return Err(at(Fault::ClaimedTwice { claim, other: *other }));
                }
                claims.push((claim, wire.number.0));
            }
            wire.wire.check(&self.folder).map_err(|error| at(error.into()))?;
            if let Some(standby) = &wire.standby {
                standby.check(&self.folder).map_err(|error| at(error.into()))?;
            }
        }
        for wire in &self.wires {
            let Some(file) = wire.wire.source(&self.folder) else { continue };
            if let Some(&(_, writer)) = claims.iter().find(|(claim, _)| *claim == file) {
                let fault = Fault::ReadAndWritten { file, writer };
                return Err(ConfigError::At { place: wire.place.clone(), fault });
            }
        }
        Ok(())
    }
}

fn port_count(device: Device, given: usize) -> Fault {
    let expected = if device == Device::Sim { "2 to 64" } else { "at least 1" };
    Fault::PortCount { given, device: device.name(), expected }
}

fn device(raw: &RawConfig) -> Result<Device, Located> {
    let missing = Fault::MissingKey { key: "device", table: "the configuration" };
    let Some(word) = &raw.device else { return Err((0..0, missing)) };
    match word.get_ref().as_str() {
        "sim" => Ok(Device::Sim),
        "none" => Ok(Device::None),
        "reference" => Ok(Device::Reference),
        given if given.starts_with("vfio:") => {
            let address = given.trim_start_matches("vfio:").parse();
            address.map(Device::Vfio).map_err(|error| (word.span(), Fault::Address(error)))
        }
        given if given.starts_with("vfio-user:") => match socket(raw) {
            Some(_) => Ok(Device::VfioUser),
            None => {
                let (given, expected) = (given.to_owned(), "\"vfio-user:SOCKET\"");
                Err((word.span(), Fault::Value { what: "device", given, expected }))
            }
        },
        given => Err((
            word.span(),
            Fault::UnknownWord {
                what: "device",
                given: given.to_owned(),
                nearest: nearest(given, &["sim", "none", "reference"]),
                expected: "\"vfio:ADDRESS\", \"vfio-user:SOCKET\", \"sim\", \"none\" or \"reference\"",
            },
        )),
    }
}

/// Where descriptors are kept; only a card of its own goes on without its daemon.
fn hold(raw: &RawConfig, device: Device, folder: &Path) -> Result<Option<hold::Place>, Located> {
    let Some(word) = &raw.hold else { return Ok(None) };
    if !matches!(device, Device::VfioUser | Device::Vfio(_)) {
        let expected = "a device \"vfio-user:SOCKET\" or \"vfio:ADDRESS\" with it";
        let given = word.get_ref().clone();
        return Err((word.span(), Fault::Value { what: "hold", given, expected }));
    }
    Ok(Some(match word.get_ref().as_str() {
        "systemd" => hold::Place::Systemd,
        path => hold::Place::Holder(folder.join(path)),
    }))
}

/// The socket of a device `vfio-user:SOCKET`.
fn socket(raw: &RawConfig) -> Option<&str> {
    let word = raw.device.as_ref()?.get_ref();
    word.strip_prefix("vfio-user:").filter(|socket| !socket.is_empty())
}

fn sim(raw: &RawConfig) -> Result<Sim, Located> {
    let Some(sim) = &raw.sim else { return Ok(Sim::default()) };
    let profile = sim.profile.as_ref().map(|name| (name.get_ref().clone(), name.span()));
    let mut overrides = Vec::new();
    for (what, value) in sim.overrides() {
        let Some(value) = value else { continue };
        let given = *value.get_ref();
        let number = u64::try_from(given).map_err(|_| {
            let (given, expected) = (given.to_string(), "a number from 0");
            (value.span(), Fault::Value { what, given, expected })
        })?;
        overrides.push((what, number, value.span()));
    }
    let faults = Faults::read(raw)?;
    Ok(Sim { profile, overrides, faults })
}

fn ipv4_header(raw: &RawConfig) -> Result<Ipv4Header, Located> {
    let word = raw.rocker.as_ref().and_then(|rocker| rocker.ipv4_header.as_ref());
    let Some(word) = word else { return Ok(Ipv4Header::default()) };
    match word.get_ref().as_str() {
        "trusted" => Ok(Ipv4Header::Trusted),
        "untrusted" => Ok(Ipv4Header::Untrusted),
        given => {
            let fault = Fault::UnknownWord {
                what: "ipv4_header",
                given: given.to_owned(),
                nearest: nearest(given, &["trusted", "untrusted"]),
                expected: "\"trusted\" or \"untrusted\"",
            };
            Err((word.span(), fault))
        }
    }
}

#[cfg(test)]
mod tests;

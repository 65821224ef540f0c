//! `twinpath run`: sets a session up, forwards, and tells what came of it.

mod adopt;
mod answer;
mod attach;
mod begin;
pub mod brain;
mod cable;
pub(crate) mod candidate;
pub mod card;
mod collect;
mod crew;
pub mod event_ring;
pub(crate) mod explain;
pub(crate) mod fault;
pub mod forwarder;
mod hardware;
pub(crate) mod heritage;
pub(crate) mod history;
pub(crate) mod host;
mod identity;
pub(crate) mod idle;
pub mod keeper;
mod keeping;
pub(crate) mod listing;
pub mod meter;
mod odometer;
mod poll;
pub mod ports;
pub mod recovery;
mod reference;
mod registers;
mod remote;
pub(crate) mod replace;
pub(crate) mod rules;
pub(crate) mod serve;
mod session;
pub(crate) mod signals;
pub(crate) mod sim;
pub mod software;
mod standby;
pub(crate) mod state;

use crate::args;
use crate::clock::Clock;
use crate::config::{Config, Device};
use crate::failure::Failure;
use crate::live::Live;
use crate::{output, view};
use anyhow::Context as _;
use begin::Begin;
use brain::Brain;
use cable::Cable;
use card::CardPath;
use crew::Crew;
use forwarder::Forwarder;
use hardware::HardwarePath;
use history::History;
use listing::Listings;
use meter::Meter;
use ports::{PortLine, Ports};
use remote::{RemotePath, resume_ports};
use session::Session;
use signals::Signals;
use software::{Software, fresh_settings};
use state::State;
use std::sync::Arc;
use twinpath_fallback::Kernel;
use twinpath_fallback::wire::{Opened, WireSpec};
use twinpath_flow::card::Generation;
use twinpath_flow::rule::Rule;
use twinpath_flow::time::Time;
use twinpath_offload::Settings;

/// Runs a configuration to its end and prints the summary.
///
/// # Errors
/// The configuration or a rule is wrong (nothing was opened then), something cannot be opened, a
/// wire failed, or the summary cannot be written.
pub(crate) fn run(arguments: &args::Run) -> Result<(), Failure> {
    let mut clock = Clock::start();
    let mut config = Config::load(&arguments.config)?;
    config.workers = arguments.workers.unwrap_or(config.workers);
    let parties = identity::parties(&mut config, arguments.user.as_deref())?;
    let rules = rules::load(&config).map_err(Failure::input)?;
    let profile = sim::profile(&config)?;
    let server = identity::open_control(&config, &parties)?;
    let mut ports = open_wires(&config)?;
    identity::settle_wires(&config, &parties)?;
    let start = Begin::open(&config)?;
    let former = start.former();
    if let Some((state, _)) = former {
        clock = Clock::going_on_from(heritage::time_now(state));
        resume_ports(&mut ports, state);
    }
    let origin = origin(&ports, former, &clock);
    // Captures bring times of long after zero: rules must not be older than the run.
    let now = former.map_or_else(|| origin.unwrap_or_default(), |_| clock.now());
    let rule_file = rules::file_digest(&config);
    let mut brain = begin(&config, (rules, rule_file), former, now);
    if !ports.are_virtual() {
        brain.meter = Meter::by(clock);
    }
    note_refusal(&start, now, &mut brain);
    let run = (origin.unwrap_or_default(), rule_file);
    let software = || software(&config, &brain, &ports);
    let forwarder = match (config.device, profile, start) {
        (Device::Reference, ..) => Forwarder::Reference(reference::Reference::default()),
        (Device::Sim, Some(profile), _) => {
            let wanted = (config.workers, config.shadow.sample);
            let mut card = CardPath::new(profile, &config.ports, wanted, software(), now);
            card.set_recovery(config.recovery);
            fault::begin(card.device(), &config.sim.faults, now);
            Forwarder::Card(Box::new(card))
        }
        (Device::Vfio(address), _, Begin::Hardware(start)) => {
            let card = HardwarePath::new(address, &config, software(), *start, run);
            note_ignored_wires(&config);
            identity::settle(&config, &parties)?;
            Forwarder::Hardware(Box::new(card))
        }
        (Device::VfioUser, _, Begin::Remote(start)) => {
            Forwarder::Remote(Box::new(RemotePath::new(&config, software(), *start, run)))
        }
        (Device::None, ..) if !ports.are_virtual() => {
            let started = Crew::start(&config, clock, ports, &brain).map_err(Failure::run)?;
            ports = started.1;
            Forwarder::Crew(Box::new(started.0))
        }
        _ => Forwarder::Software(Box::new(software())),
    };
    let signals = Signals::catch().context("signals").map_err(Failure::run)?;
    let mut session = Session {
        config,
        ports,
        forwarder,
        brain,
        history: History::new(),
        listings: Listings::default(),
        clock,
        now,
        origin,
        duration: arguments.duration,
        server,
        signals,
        live: Live::new(),
        failure: None,
    };
    session.start().map_err(Failure::run)?;
    session.forward();
    finish(&mut session, arguments)
}

/// When the run began: with the first packet where time is virtual, if there is one.
fn origin(ports: &Ports, former: Option<(&State, Generation)>, clock: &Clock) -> Option<Time> {
    match former {
        _ if ports.are_virtual() => ports.next_arrival().map(|(time, _)| time),
        Some((state, _)) => Some(Time(state.run.origin)),
        None => Some(clock.now()),
    }
}

/// The brain: as a former process's state has it, or anew.
fn begin(
    config: &Config,
    (rules, rule_file): (Vec<Rule>, u64),
    former: Option<(&State, Generation)>,
    now: Time,
) -> Brain {
    let (ports, settings) = (Arc::clone(&config.ports), engine_settings(config));
    let mut brain = match former {
        None => Brain::new(ports, rules, settings, now),
        Some((state, generation)) => {
            let mut brain = Brain::resume((ports, settings), state, generation, now);
            // Rules that were changed at run time stay, unless the file was changed since.
            if state.run.rule_file != rule_file {
                brain.change(|store| store.replace(rules));
            }
            brain
        }
    };
    if config.hold.is_some() {
        brain.guard();
    }
    brain.settle(now, None);
    brain
}

/// Says why a card is reset that could have gone on.
fn note_refusal(start: &Begin, now: Time, brain: &mut Brain) {
    if let Some(reason) = start.refused() {
        tracing::warn!("the card is reset: {reason}");
        brain.events.error(now, format!("the card is reset: {reason}"));
    }
}

/// The software path, with the instructions asked for.
fn software(config: &Config, brain: &Brain, ports: &Ports) -> Software {
    let kernel = config.kernel.unwrap_or_else(Kernel::best);
    tracing::info!("software forwards with the kernel {kernel}");
    let settings = fresh_settings(config.kernel);
    let software = Software::new(settings, brain.generation(), Arc::clone(brain.pipeline()));
    // What is kept for a process that takes over knows of whole changes only.
    let is_whole =
        ports.are_virtual() || config.device == Device::VfioUser || config.hold.is_some();
    if is_whole { software } else { software.in_parts() }
}

/// The summary, then what failed on the way.
fn finish(session: &mut Session, arguments: &args::Run) -> Result<(), Failure> {
    let failure = session.ports.finish().map(anyhow::Error::from);
    let failure = session.failure.take().or(failure);
    let statistics = collect::statistics(session);
    session.keep_state();
    let written = if arguments.json {
        output::json(&statistics)
    } else {
        output::text(&view::stats::summary(&statistics, Some(session.clock.elapsed())))
    };
    match failure {
        Some(failure) => Err(Failure::run(failure)),
        None => written,
    }
}

fn engine_settings(config: &Config) -> Settings {
    let (shadow, placement) = (&config.shadow, &config.placement);
    Settings {
        shadow_per_second: shadow.per_second,
        updates_per_second: placement.updates_per_second,
        host_percent: placement.host_percent,
        ..Settings::default()
    }
}

/// Opens the wires of all ports, or none where the card has cables of its own.
fn open_wires(config: &Config) -> Result<Ports, Failure> {
    let device = config.device.name();
    let has_cables = matches!(config.device, Device::Vfio(_) | Device::VfioUser);
    let ends = if has_cables { Ends::Cables } else { Ends::Wires };
    let ports = open_ends(config, ends)?;
    for wire in &config.wires {
        if wire.standby.is_some() && !has_cables {
            let number = wire.number.0;
            tracing::warn!("port {number}: device {device} never needs its standby");
        }
    }
    Ok(ports)
}

/// Says, once the card is there, that its cables take the place of what the file names.
fn note_ignored_wires(config: &Config) {
    if config.wires.iter().any(|wire| !matches!(wire.wire, WireSpec::Null)) {
        let device = config.device.name();
        tracing::warn!("device {device} has cables of its own: wires are ignored");
    }
}

/// What the ports are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// The wires of the configuration.
    Wires,
    /// Cables of the card, out of our sight.
    Cables,
}

fn open_ends(config: &Config, ends: Ends) -> Result<Ports, Failure> {
    let mut lines = Vec::with_capacity(config.wires.len());
    for wire in &config.wires {
        let opened = match ends {
            Ends::Cables => Opened::quiet(Cable::default()),
            Ends::Wires => wire.wire.open(&config.folder).map_err(Failure::run)?,
        };
        for notice in opened.notices {
            tracing::info!("port {}: {notice}", wire.number.0);
        }
        for warning in opened.warnings {
            tracing::warn!("port {}: {warning}", wire.number.0);
        }
        let port = config.ports.find(wire.number).expect("wires are of ports in the table");
        lines.push(PortLine::new(wire.number, port.name.clone(), opened.wire));
    }
    Ok(Ports::new(lines))
}

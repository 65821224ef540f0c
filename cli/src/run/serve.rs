//! `twinpath sim`: the simulated card with its wires, for a driver in another process.

use super::ports::Ports;
use super::signals::Signals;
use super::{Ends, fault, open_ends, poll, sim};
use crate::clock::Clock;
use crate::config::{Config, Fault};
use crate::control::path;
use crate::control::request::{Answer, Request};
use crate::control::server::Server as Control;
use crate::failure::Failure;
use anyhow::Context as _;
use std::path::Path;
use std::time::Duration;
use twinpath_abi::bus::CardMemory as _;
use twinpath_abi::register::{STATUS, status};
use twinpath_flow::card::Generation;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;
use twinpath_host_driver::vfio_user::memory::ServedMemory;
use twinpath_host_driver::vfio_user::server::{Function, Served, Server};
use twinpath_hw_sim::Card;

/// Frames taken from one wire in one round.
const ROUND_MAX: usize = 32;

/// How long a card without anything to do sleeps: doorbells are memory, nothing tells of them.
const NAP: Duration = Duration::from_micros(100);

/// The same without a client; wires are drained all the same.
const SLEEP: Duration = Duration::from_millis(100);

/// The card in service.
#[derive(Debug)]
struct Service {
    server: Server,
    /// Where faults are asked for.
    control: Control,
    memory: ServedMemory,
    card: Resettable,
    ports: Ports,
    /// Port numbers by the card's index.
    numbers: Vec<PortNo>,
    /// Whether sources with a time of their own have begun.
    begun: bool,
}

/// The card as its server sees it.
#[derive(Debug)]
struct Resettable(Card<ServedMemory>);

impl Function for Resettable {
    fn reset(&mut self) {
        self.0.function_reset();
    }
}

/// Serves the card of a configuration until a signal ends it.
///
/// # Errors
/// The configuration is wrong, the socket or a wire cannot be opened, or an output cannot be
/// written.
pub(crate) fn serve(socket: &Path, config: &Path) -> Result<(), Failure> {
    let clock = Clock::start();
    let config = Config::load(config)?;
    let profile = sim::served(&config)?;
    let given = config.wires.len();
    if !(2..=64).contains(&given) {
        let fault = Fault::PortCount { given, device: "sim", expected: "2 to 64" };
        return Err(config.at(&(0..0), fault).into());
    }
    let vectors = u16::try_from(profile.queues + 1).map_err(Failure::input)?;
    let signals = Signals::catch().context("signals").map_err(Failure::run)?;
    let ports = open_ends(&config, Ends::Wires)?;
    let server = Server::bind(socket, vectors).map_err(Failure::run)?;
    let memory = server.memory();
    let card = Resettable(Card::new(profile, memory.clone()));
    let numbers = config.ports.physical().map(|port| port.number).collect();
    let control = Control::open(&path::of_card(socket)).map_err(Failure::run)?;
    let mut service = Service { server, control, memory, card, ports, numbers, begun: false };
    fault::begin(&mut service.card.0, &config.sim.faults, clock.now());
    tracing::info!("serving the simulated card on {}", socket.display());
    while !signals.end_wanted() && !service.ports.are_blocked() {
        let now = clock.now();
        if !service.round(now) {
            service.sleep(clock.now(), &signals);
        }
    }
    service.ports.finish().map_or(Ok(()), |failure| Err(Failure::run(failure)))
}

impl Service {
    /// Does what can be done now; whether that was anything.
    fn round(&mut self, now: Time) -> bool {
        let served = self.server.serve(now, &mut self.card);
        let card = &mut self.card.0;
        self.control.serve(now, Generation(0), |request| {
            let answer = match request {
                Request::Fault { order } => fault::answer(card, &order, now),
                _ => Answer::Refused("a card is served here: twinpath sim fault".to_owned()),
            };
            (answer, None)
        });
        self.card.0.step(now.0);
        self.begin(now);
        let mut taken = 0;
        for at in 0..self.ports.lines().len() {
            let virtual_source = self.ports.lines()[at].wire.is_virtual();
            if virtual_source && !self.begun {
                continue;
            }
            let (card, numbers) = (&mut self.card.0, &self.numbers);
            taken += self.ports.receive(at, now, ROUND_MAX, &mut |port, frame, _| {
                if let Ok(index) = numbers.binary_search(&port) {
                    card.port_in(index, frame, now.0);
                }
            });
        }
        self.card.0.step(now.0);
        let mut sent = false;
        for (index, port) in self.numbers.iter().enumerate() {
            while let Some(frame) = self.card.0.port_out(index) {
                self.ports.send(*port, &frame, now);
                self.card.0.recycle(frame);
                sent = true;
            }
        }
        self.ports.flush();
        taken > 0 || sent || served != Served::Nothing
    }

    /// Lets captures and generators begin when a driver has set the card up for the first time.
    fn begin(&mut self, now: Time) {
        let state = self.memory.load32(STATUS.offset);
        let forwards = state & status::READY != 0 && state & status::BYPASS == 0;
        if !self.begun && forwards {
            self.begun = true;
            self.ports.start_at(now);
        }
    }

    fn sleep(&self, now: Time, signals: &Signals) {
        let nap = now.after(if self.server.has_client() { NAP } else { SLEEP });
        let arrival = self.ports.next_arrival().filter(|_| self.begun).map(|(time, _)| time);
        let events = [
            Some(nap),
            arrival,
            self.card.0.next_event().map(Time),
            self.server.deadline(),
            self.control.deadline(),
        ];
        let due = events.into_iter().flatten().min().unwrap_or(now);
        let others = [(self.server.descriptor(), false), (signals.descriptor(), false)];
        let others = others.into_iter().chain(self.control.descriptors());
        poll::wait_for(due.since(now), &self.ports, others);
    }
}

//! A run in progress: wires, forwarder, brain, control socket; its event loop.

use super::brain::Brain;
use super::explain::text_of;
use super::forwarder::Forwarder;
use super::history::{History, Sample};
use super::keeper::FlowKeeper;
use super::listing::Listings;
use super::ports::Ports;
use super::signals::Signals;
use super::{answer, poll};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::server::Server;
use crate::live::Live;
use crate::reproducer::Reproducer;
use std::time::Duration;
use twinpath_flow::time::Time;

/// Frames taken from one live wire in one round.
const ROUND_MAX: usize = 32;

/// Rounds of virtual time between looks at signals, control socket and live line.
const ROUNDS_UNATTENDED: u32 = 512;

/// How far virtual time moves when what was due did not get done.
const NUDGE: Duration = Duration::from_micros(1);

/// How long the real-time loop sleeps at most, so that nothing is ever late for good.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// How long what is inside may take to leave once no more is taken in.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A run in progress.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its configuration.
    pub config: Config,
    /// Ports and wires.
    pub ports: Ports,
    /// Device.
    pub forwarder: Forwarder,
    /// Engine and rules.
    pub brain: Brain,
    /// How the counters grew.
    pub history: History,
    /// Real time.
    pub clock: Clock,
    /// Time of the run.
    pub now: Time,
    /// When it began: where time is virtual, the time of the first packet if there is one.
    pub origin: Option<Time>,
    /// When the run ends at the latest, counted from its origin.
    pub duration: Option<Duration>,
    /// Listings of flows of which pages are to come.
    pub listings: Listings,
    /// Control socket.
    pub server: Option<Server>,
    /// Signals.
    pub signals: Signals,
    /// Live line.
    pub live: Live,
    /// What went wrong in a thread that forwards.
    pub failure: Option<anyhow::Error>,
}

impl Session {
    /// Forwards until sources are drained, the duration has passed or a signal comes; then lets
    /// leave what is inside and reads all counters.
    pub(crate) fn forward(&mut self) {
        if self.ports.are_virtual() {
            self.forward_virtual();
        } else {
            self.forward_real();
        }
        self.drain();
        self.live.clear();
    }

    /// Brings the card up, where there is one, before the first frame is taken.
    ///
    /// # Errors
    /// The card does not come up.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        match &mut self.forwarder {
            Forwarder::Card(card) => self.now = card.bring_up(self.now, &mut self.brain)?,
            Forwarder::Hardware(card) => {
                self.now = card.bring_up(&self.clock, &mut self.brain, &self.ports)?;
            }
            Forwarder::Remote(card) => {
                self.now = card.bring_up(self.clock, &mut self.brain, &mut self.ports)?;
            }
            Forwarder::Software(_) | Forwarder::Crew(_) | Forwarder::Reference(_) => {}
        }
        Ok(())
    }

    /// Brings up to date what other threads count.
    pub(crate) fn refresh(&mut self) {
        self.forwarder.refresh(self.now, &mut self.brain, &mut self.ports);
    }

    /// Frames received on all ports.
    pub(crate) fn received(&self) -> u64 {
        self.ports.lines().iter().map(|line| line.received.packets).sum()
    }

    /// Time of the run that has passed.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.since(self.begun())
    }

    /// When the run began; zero while no packet has begun it.
    pub(crate) fn begun(&self) -> Time {
        self.origin.unwrap_or_default()
    }

    /// Seconds from the origin of the run to a time.
    pub(crate) fn seconds(&self, time: Time) -> f64 {
        time.since(self.begun()).as_secs_f64()
    }

    fn end(&self) -> Time {
        self.duration.map_or(Time(u64::MAX), |duration| self.begun().after(duration))
    }

    /// Time goes from event to event; ties at input go to the lower port.
    fn forward_virtual(&mut self) {
        let mut unattended = 0;
        // Ends: every round hands on a frame, or moves time to an event of the device, and
        // sources and what is inside are finite, or the duration or a signal ends it.
        loop {
            unattended += 1;
            if unattended >= ROUNDS_UNATTENDED {
                unattended = 0;
                self.attend();
                self.ports.flush();
                if self.signals.end_wanted() || self.ports.are_blocked() {
                    return;
                }
            }
            let arrival = self.ports.next_arrival();
            if arrival.is_none() && self.forwarder.is_idle() {
                return;
            }
            let next = self.next_due(arrival.map(|(time, _)| time));
            if next.is_none_or(|next| next >= self.end()) {
                self.now = next.map_or(self.now, |_| self.end());
                return;
            }
            match arrival {
                Some((time, at)) if next == Some(time.max(self.now)) => {
                    self.now = self.now.max(time);
                    self.receive(at, 1);
                }
                _ => self.now = next.unwrap_or(self.now),
            }
            self.advance();
        }
    }

    /// The next point in time at which something happens, not before now. What a device or the
    /// engine left undone at this very time is looked at a little later, so that time always moves.
    fn next_due(&self, arrival: Option<Time>) -> Option<Time> {
        let due = |time: Time| if time > self.now { time } else { self.now.after(NUDGE) };
        let events = [self.forwarder.next_event(), self.brain.next_tick()];
        let part = self.has_part_to_do().then_some(self.now);
        let event = events.into_iter().chain([part]).flatten().map(due).min();
        let arrival = arrival.map(|time| time.max(self.now));
        [event, arrival].into_iter().flatten().min()
    }

    /// Whether a change of rules goes on as soon as there is time.
    fn has_part_to_do(&self) -> bool {
        self.forwarder.keeper().is_some_and(FlowKeeper::is_under_way)
    }

    /// Time is the clock's; waits for descriptors when there is nothing to do.
    fn forward_real(&mut self) {
        self.ports.start_at(self.now);
        // Ends: by duration, by a signal, or when every source is finite and drained.
        loop {
            self.now = self.clock.now();
            self.attend();
            if self.signals.end_wanted() || self.ports.are_blocked() || self.now >= self.end() {
                return;
            }
            let mut taken = 0;
            for at in 0..self.ports.lines().len() {
                taken += self.receive(at, ROUND_MAX);
                self.advance();
            }
            self.ports.flush();
            let finished = self.ports.are_finished() && self.forwarder.is_idle();
            if finished || self.forwarder.is_over() {
                return;
            }
            if taken == 0 {
                self.sleep();
            }
        }
    }

    /// Waits until a descriptor is ready or something is due.
    fn sleep(&self) {
        let arrival = self.ports.next_arrival().map(|(time, _)| time);
        let events = [
            arrival,
            self.forwarder.next_event(),
            self.brain.next_tick(),
            self.server.as_ref().and_then(Server::deadline),
            Some(self.end()),
            Some(self.now.after(SLEEP_MAX)),
        ];
        let answer = |server: &Server| server.can_answer(self.brain.in_force());
        if self.has_part_to_do() || self.server.as_ref().is_some_and(answer) {
            return;
        }
        let due = events.into_iter().flatten().min().unwrap_or(self.now);
        poll::wait(due.since(self.clock.now()), &self.ports, self.server.as_ref(), &self.signals);
    }

    fn receive(&mut self, at: usize, limit: usize) -> usize {
        let (forwarder, brain, now) = (&mut self.forwarder, &mut self.brain, self.now);
        self.ports.receive(at, now, limit, &mut |port, frame, _| {
            forwarder.take(now, brain, port, frame);
        })
    }

    fn advance(&mut self) {
        self.forwarder.advance(self.now, &mut self.brain, &mut self.ports);
        let received = self.received();
        if self.history.is_due(received) {
            let fates = self.forwarder.fates(received);
            let (card, software) = (fates.card.unwrap_or_default(), fates.software);
            self.history.keep(Sample { received, card, software });
        }
    }

    /// Lets leave what is inside, then brings all counters up to date.
    fn drain(&mut self) {
        self.forwarder.halt(self.now, &mut self.brain);
        let deadline = self.now.after(DRAIN_MAX);
        let real = !self.ports.are_virtual();
        while (self.brain.is_changing() || !self.forwarder.is_idle()) && self.now < deadline {
            // Always later than now, so that the deadline is reached.
            let Some(next) = self.next_due(None) else { break };
            if real {
                let due = next.since(self.clock.now());
                poll::wait(due, &self.ports, self.server.as_ref(), &self.signals);
                self.now = self.clock.now();
            } else {
                self.now = next;
            }
            self.advance();
        }
        self.now = self.forwarder.read_counters(self.now, &mut self.brain);
        self.keep_findings();
        self.attend();
        self.ports.flush();
        self.failure = self.forwarder.end(self.now, &mut self.brain, &mut self.ports);
    }

    /// Writes down what a next process goes on from, if anything is kept for one.
    pub(crate) fn keep_state(&mut self) {
        match &mut self.forwarder {
            Forwarder::Remote(card) => card.save(self.now, &mut self.brain, &self.ports),
            Forwarder::Hardware(card) => card.save(self.now, &mut self.brain, &self.ports),
            _ => {}
        }
    }

    /// Looks after signals, the control socket and the live line.
    fn attend(&mut self) {
        let real_now = self.clock.now();
        if self.signals.take_reload() {
            self.reload();
        }
        if let Some(mut server) = self.server.take() {
            let in_force = self.brain.in_force();
            server.serve(real_now, in_force, |request| {
                self.refresh();
                let answer = answer::answer(self, &request);
                // What people have seen is what a next process goes on from.
                self.keep_state();
                let newest = self.brain.newest();
                let wait = request.changes_rules() && newest > self.brain.in_force();
                (answer, wait.then_some(newest))
            });
            self.server = Some(server);
        }
        self.keep_findings();
        if self.live.is_due(real_now) {
            self.refresh();
            let received = self.received();
            let fates = self.forwarder.fates(received);
            self.live.show(real_now, received, &fates, self.elapsed());
        }
    }

    /// Writes differences between card and rules to files.
    fn keep_findings(&mut self) {
        for finding in std::mem::take(&mut self.brain.findings) {
            let rules = self.brain.pipeline().iter().map(|placed| text_of(&placed.rule) + "\n");
            let kept = Reproducer::new(&finding, &self.config, rules.collect());
            let folder = &self.config.shadow.folder;
            match kept.save(folder) {
                Ok(Some(path)) => {
                    let told = format!("kept for `twinpath replay`: {}", path.display());
                    self.brain.events.event(self.now, told);
                }
                Ok(None) => {}
                Err(error) => {
                    let told = format!("{}: cannot keep a divergence: {error}", folder.display());
                    self.brain.events.error(self.now, told);
                }
            }
        }
    }

    /// Reads the rule file again; a bad one changes nothing.
    fn reload(&mut self) {
        let now = self.now;
        if self.config.rules.is_none() {
            return self.brain.events.event(now, "no rule file to read again".into());
        }
        match super::rules::load(&self.config) {
            Ok(rules) => {
                let digest = super::rules::file_digest(&self.config);
                if let Some(keeping) = self.forwarder.keeping_mut() {
                    keeping.set_rule_file(digest);
                }
                let count = rules.len();
                self.brain.change(|store| store.replace(rules));
                self.brain.settle(now, self.forwarder.keeper_mut());
                self.brain.events.event(now, format!("rule file read again, {count} rules"));
            }
            Err(error) => {
                self.brain.events.error(now, format!("rule file refused, rules kept: {error:#}"));
            }
        }
    }
}

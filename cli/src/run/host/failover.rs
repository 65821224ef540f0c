//! A card that fails, is drained or comes back: when it is reset, and when it has flows again.

use super::Host;
use crate::run::brain::Brain;
use crate::run::recovery::{Recovery, Standing};
use crate::run::software::Software;
use std::time::Duration;
use twinpath_flow::card::{Epoch, Generation, Health, Sweep};
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{Mode, SmartNic};
use twinpath_offload::io::{Input, ResetCause};

/// Counters of a card that is being drained are read by then, or given up.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Bursts that a queue is emptied by before a reset.
const LAST_BURSTS: usize = 64;

/// Shortest wait before a reset that did not help is tried again.
const RETRY_MIN: Duration = Duration::from_millis(1);

/// What somebody wants of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Its flows go to software, without a loss.
    Drain,
    /// Its flows come back, and its failures are forgiven.
    Resume,
    /// It is reset.
    Reset,
}

/// What is under way with a card.
#[derive(Debug)]
pub(super) struct Failover {
    recovery: Recovery,
    /// What ails the card; the reset is decided with what the engine says of it.
    ailing: Option<String>,
    /// When a card that stays dead is reset.
    reset_due: Option<Time>,
    /// What the last reset was to make of it.
    tried: Mode,
    /// Whether the last reset brought it up.
    is_up: bool,
    /// An epoch in which the card is up, but has no flows yet.
    waiting: Option<Epoch>,
    /// Since when the card is being drained: its counters are read a last time.
    draining: Option<Time>,
}

impl Failover {
    pub(super) const fn new(recovery: Recovery) -> Self {
        Self {
            recovery,
            ailing: None,
            reset_due: None,
            tried: Mode::Forward,
            is_up: false,
            waiting: None,
            draining: None,
        }
    }

    /// Notes what ails the card.
    pub(super) fn note(&mut self, cause: impl ToString) {
        self.ailing = Some(cause.to_string());
    }

    /// The card is up in that epoch.
    pub(super) fn up(&mut self, epoch: Epoch) {
        (self.waiting, self.is_up) = (Some(epoch), true);
        self.reset_due = None;
    }

    /// The card is up, with flows that it never lost.
    pub(super) const fn go_on(&mut self) {
        self.is_up = true;
    }

    pub(super) const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// When something is due by itself.
    pub(super) fn next_event(&self) -> Option<Time> {
        [self.recovery.next_event(), self.reset_due].into_iter().flatten().min()
    }
}

impl<N: SmartNic + ?Sized> Host<N> {
    /// Puts up with so much; before the card is up.
    pub(crate) fn set_recovery(&mut self, recovery: Recovery) {
        self.failover.tried = recovery.mode();
        self.nic.set_mode(recovery.mode());
        self.failover.recovery = recovery;
    }

    /// The card's failures.
    pub(crate) const fn recovery(&self) -> &Recovery {
        self.failover.recovery()
    }

    /// Gives up a card that stays dead: how long to leave it alone.
    pub(crate) fn give_up(&mut self, now: Time, brain: &mut Brain) -> Duration {
        let due = self.failover.reset_due.map_or(Duration::ZERO, |due| due.since(now));
        match self.failover.ailing.take() {
            Some(cause) => self.note_failure(now, cause, brain),
            None => due,
        }
    }

    /// Forgets what was to be done about a card that is gone.
    pub(crate) fn let_be(&mut self) {
        let Failover { ailing, reset_due, is_up, waiting, draining, .. } = &mut self.failover;
        (*ailing, *reset_due, *waiting, *draining) = (None, None, None, None);
        *is_up = false;
    }

    /// Resets the card when it failed, or when it is time to; whether that was so.
    pub(super) fn reset_if_due(
        &mut self,
        now: Time,
        software: &mut Software,
        brain: &mut Brain,
    ) -> bool {
        let wanted = brain.wants.reset.take();
        let ailing = self.failover.ailing.take();
        if let Some(cause) = ailing.or_else(|| wanted.map(|cause| cause.to_string())) {
            brain.operations.clear();
            self.failover.draining = None;
            if wanted == Some(ResetCause::IdsExhausted) {
                brain.events.event(now, format!("card is reset: {cause}"));
                self.failover.reset_due = Some(now);
            } else {
                let rest = self.note_failure(now, cause, brain);
                self.failover.reset_due = Some(now.after(rest));
            }
        }
        if self.failover.reset_due.is_none_or(|due| now < due) {
            return false;
        }
        self.empty_queues(now, software, brain);
        self.reset_now(now, brain);
        true
    }

    /// Decides what the card has delivered, if it lives: a reset loses the rest.
    fn empty_queues(&mut self, now: Time, software: &mut Software, brain: &mut Brain) {
        for index in 0..self.lanes.len() {
            for _ in 0..LAST_BURSTS {
                if !self.serve_lane(index, now, software, brain) {
                    break;
                }
            }
        }
        brain.settle(now, Some(software));
        brain.operations.clear();
        // What they said of the card is no news.
        (self.failover.ailing, brain.wants.reset) = (None, None);
    }

    /// How long the card is left alone before its reset: long only if it does not even come up
    /// in bypass.
    fn note_failure(&mut self, now: Time, cause: String, brain: &mut Brain) -> Duration {
        brain.events.error(now, format!("card failed: {cause}"));
        let before = self.failover.recovery.standing();
        let pause = self.failover.recovery.failed(now, cause);
        let left_out = self.failover.recovery.standing() == Standing::LeftOut;
        if left_out && before != Standing::LeftOut {
            let told = format!("card is {}", self.failover.recovery.describe());
            brain.events.error(now, format!("{told}; to trust it again: twinpath card resume"));
        }
        match (self.failover.tried, self.failover.is_up) {
            // It may do as a plain network card.
            (Mode::Forward, true) => Duration::ZERO,
            (Mode::Forward, false) | (Mode::Bypass, true) => RETRY_MIN,
            (Mode::Bypass, false) => pause.max(RETRY_MIN),
        }
    }

    /// Resets the card into the mode it deserves.
    pub(crate) fn reset_now(&mut self, now: Time, brain: &mut Brain) {
        self.failover.reset_due = None;
        (self.failover.waiting, self.failover.is_up) = (None, false);
        self.failover.tried = self.failover.recovery.mode();
        self.nic.set_mode(self.failover.tried);
        if let Err(error) = self.nic.reset(now) {
            brain.events.error(now, format!("card reset: {error}"));
        }
    }

    /// Gives the card its flows when it is up and trusted; whether that was now.
    pub(super) fn entrust(&mut self, now: Time, brain: &mut Brain) -> bool {
        if self.failover.recovery.end_rest(now) {
            self.failover.tried = Mode::Forward;
            self.nic.set_mode(Mode::Forward);
        }
        let Some(epoch) = self.failover.waiting else { return false };
        let trusted = self.failover.recovery.mode() == Mode::Forward;
        if !trusted || self.nic.health(now) != Health::Good {
            return false;
        }
        self.failover.waiting = None;
        let capabilities = std::sync::Arc::new(self.nic.capabilities().clone());
        // Bring-up is by a reset, and a reset card is in generation 0.
        brain.tell(now, Input::CardUp { capabilities, epoch, generation: Generation(0) });
        true
    }

    /// Notes what somebody wants of a card that is gone; whether that can be.
    pub(crate) fn bear_in_mind(&mut self, order: Order) -> bool {
        match order {
            Order::Drain => self.failover.recovery.drain(),
            Order::Resume => self.failover.recovery.trust(),
            Order::Reset => {}
        }
        order != Order::Reset
    }

    /// Does what somebody wants of the card.
    pub(crate) fn obey(
        &mut self,
        now: Time,
        order: Order,
        software: &mut Software,
        brain: &mut Brain,
    ) {
        match order {
            Order::Drain => self.drain(now, brain),
            Order::Resume => self.resume(now, software, brain),
            Order::Reset => {
                brain.events.event(now, "card is reset: somebody asked for it".into());
                self.reset(now, software, brain);
            }
        }
    }

    /// Takes the flows out of the card, losing neither packets nor counts: first every packet
    /// comes to the host, then counters are read, then the entries are forgotten.
    fn drain(&mut self, now: Time, brain: &mut Brain) {
        if self.failover.recovery.standing() == Standing::Drained {
            return;
        }
        brain.events.event(now, "card is drained".into());
        self.failover.recovery.drain();
        self.nic.set_mode(Mode::Bypass);
        self.failover.draining = Some(now);
    }

    /// Trusts the card again, whatever it did, and resets it.
    fn resume(&mut self, now: Time, software: &mut Software, brain: &mut Brain) {
        brain.events.event(now, "card is trusted again".into());
        self.failover.recovery.trust();
        self.reset(now, software, brain);
    }

    /// Resets the card now.
    fn reset(&mut self, now: Time, software: &mut Software, brain: &mut Brain) {
        self.empty_queues(now, software, brain);
        self.failover.draining = None;
        brain.tell(now, Input::CardWithdrawn);
        brain.wants.reset = None;
        self.reset_now(now, brain);
    }

    /// Asks for the sweep that ends a drain, and ends it.
    pub(super) fn drain_further(&mut self, now: Time, brain: &mut Brain) {
        let Some(since) = self.failover.draining else { return };
        brain.wants.sweep = true;
        if now.since(since) > DRAIN_MAX {
            brain.events.error(now, "no final sweep of the card's counters".into());
            self.withdraw(now, brain);
        }
    }

    /// A sweep has come: does it end a drain?
    pub(super) fn drained_by(&mut self, now: Time, sweep: &Sweep, brain: &mut Brain) {
        let since = self.failover.draining;
        let in_bypass = self.nic.health(now) == Health::Bypass;
        // Frames were on their way through the card for a moment longer.
        let clear = |since: Time| sweep.as_of >= since.after(super::SWEEP_RETRY * 4);
        if in_bypass && sweep.complete && since.is_some_and(clear) {
            self.withdraw(now, brain);
        }
    }

    fn withdraw(&mut self, now: Time, brain: &mut Brain) {
        self.failover.draining = None;
        brain.operations.clear();
        brain.tell(now, Input::CardWithdrawn);
    }
}

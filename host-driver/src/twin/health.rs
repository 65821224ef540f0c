//! Signs of life: registers, heartbeat, deadlines.

use super::Twin;
use super::bring_up::Phase;
use crate::nic::Mode;
use std::time::Duration;
use twinpath_abi::bus::Bus;
use twinpath_abi::register::{self, status};
use twinpath_flow::card::{DeathCause, Event};
use twinpath_flow::time::Time;

/// What a bus reads where there is no card.
pub(super) const ALL_ONES: u32 = u32::MAX;

/// Signs of life are looked at this often: reads across a bus cost about a microsecond each.
const SIGNS_INTERVAL: Duration = Duration::from_micros(250);

/// The card's heartbeat as last seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heart {
    value: u32,
    /// Time watched when it was first seen to have this value.
    since: Option<Time>,
    /// When to look again.
    next: Time,
}

impl<B: Bus + 'static> Twin<B> {
    /// Whether the card says that it is in bypass.
    pub(super) fn in_bypass(&self) -> bool {
        self.bus.read32(register::STATUS.offset) & status::BYPASS != 0
    }

    /// Checks the card's registers.
    ///
    /// # Errors
    /// [`DeathCause`] when it is gone.
    pub(super) fn check_registers(&mut self) -> Result<(), DeathCause> {
        let read = |register: &register::Register| self.bus.read32(register.offset);
        // A living card's status has few bits; all ones on every register is a missing card.
        let state = read(&register::STATUS);
        if state == ALL_ONES || read(&register::IDENTITY) == ALL_ONES {
            return Err(DeathCause::AllOnes);
        }
        if self.phase != Phase::Running {
            return Ok(());
        }
        // Tables that are not matched though they should be are broken.
        let shirks = state & status::BYPASS != 0
            && self.mode == Mode::Forward
            && self.watch.watched() > self.mode_until;
        let faulty = shirks || state & (status::FAULT | status::RESET_WANTED) != 0;
        let changed = self.active.as_ref().is_some_and(|active| {
            state & status::READY == 0 || read(&register::EPOCH) != active.card_epoch
        });
        // A card that was reset by others has forgotten everything, but it lives.
        if (faulty || changed) && !self.reset_wanted {
            let syndrome = read(&register::SYNDROME);
            tracing::warn!(state, syndrome, "card wants a reset");
            self.reset_wanted = true;
            self.events.push(Event::ResetRequest);
        }
        Ok(())
    }

    /// Checks registers, clock and heart of a card that is up, now and then.
    ///
    /// # Errors
    /// [`DeathCause`] when it is gone.
    pub(super) fn check_signs(&mut self, now: Time, watched: Time) -> Result<(), DeathCause> {
        if now < self.heart.next {
            return Ok(());
        }
        self.heart.next = now.after(SIGNS_INTERVAL);
        self.check_registers()?;
        self.sample_clock(now);
        self.check_queues(watched)?;
        self.check_heart(watched)
    }

    /// Checks that no queue stands still.
    fn check_queues(&mut self, watched: Time) -> Result<(), DeathCause> {
        let Some(active) = &mut self.active else { return Ok(()) };
        for (index, (stall, gate)) in (0..).zip(active.stalls.iter_mut().zip(&active.gates)) {
            stall.look(&*self.bus, (index, gate), watched, &self.settings)?;
        }
        Ok(())
    }

    /// Checks that the heart beats.
    ///
    /// # Errors
    /// [`DeathCause::Heartbeat`] when it has stopped for longer than the deadline.
    fn check_heart(&mut self, watched: Time) -> Result<(), DeathCause> {
        let value = self.bus.read32(register::HEARTBEAT.offset);
        if value == ALL_ONES && self.bus.read32(register::IDENTITY.offset) == ALL_ONES {
            return Err(DeathCause::AllOnes);
        }
        match self.heart.since {
            Some(since) if value == self.heart.value => {
                let longest = self.settings.within(self.settings.heartbeat_deadline);
                if watched.since(since) > longest {
                    return Err(DeathCause::Heartbeat);
                }
            }
            _ => (self.heart.value, self.heart.since) = (value, Some(watched)),
        }
        Ok(())
    }

    /// Takes a sample of the card's clock.
    pub(super) fn sample_clock(&mut self, now: Time) {
        let card = self.bus.read64(register::CLOCK.offset);
        self.clock.sample(&mut self.sampler, now, card);
    }

    /// Forgets what was seen of the card before a reset.
    pub(super) fn forget_signs(&mut self) {
        self.heart = Heart::default();
        self.sampler = super::Sampler::default();
        self.reset_wanted = false;
    }
}

//! How faults reach the card: its plan, and what happens by itself as time goes on.

use super::class::Class;
use super::plan::{Incident, Plan, PlanError, Rate};
use super::state::{Faults, Fired};
use crate::card::Card;
use crate::completions::Source;
use crate::registers::{of_queue, power_up, store_bytes};
use crate::tables::Tables;
use twinpath_abi::bus::CardMemory;
use twinpath_abi::command::opcode;
use twinpath_abi::entry::NO_ENTRY;
use twinpath_abi::register::{BAR_BYTES, CAPABILITY, COMMAND_CONSUMER, queue};
use twinpath_abi::sweep::Record;

impl<M: CardMemory> Card<M> {
    /// Replaces the plan of faults; how often each class fired is kept.
    pub fn set_faults(&mut self, plan: Plan) {
        self.clear_faults();
        self.faults = Some(Box::new(Faults::new(plan, self.fired, (self.ports.len(), self.clock))));
    }

    /// Changes the rate of one class; draws come from `seed` if there was no plan.
    pub fn set_fault(&mut self, class: Class, rate: Rate, seed: u64) {
        self.faults_or_new(seed).plan.set_rate(class, rate);
    }

    /// Adds an event to the script.
    ///
    /// # Errors
    /// [`PlanError::TooMany`].
    pub fn inject(&mut self, incident: Incident) -> Result<(), PlanError> {
        self.faults_or_new(0).plan.push(incident)
    }

    fn faults_or_new(&mut self, seed: u64) -> &mut Faults {
        let start = (self.ports.len(), self.clock);
        let fired = self.fired;
        self.faults.get_or_insert_with(|| Box::new(Faults::new(Plan::new(seed), fired, start)))
    }

    /// The plan, if there is one.
    #[must_use]
    pub fn faults(&self) -> Option<&Plan> {
        self.faults.as_ref().map(|faults| &faults.plan)
    }

    /// How often each class fired since the card was made.
    #[must_use]
    pub fn fired(&self) -> Fired {
        self.faults.as_ref().map_or(self.fired, |faults| faults.fired)
    }

    /// Whether the link of a port is up.
    #[must_use]
    pub fn link(&self, port: usize) -> bool {
        self.faults.as_ref().is_none_or(|faults| faults.link(port, self.clock))
    }

    /// Ends all faults and mends the card: what waited comes now, broken entries serve again,
    /// links are up, a function that was gone is back, powered up. What the card has not done, or
    /// done wrongly, before stays so; capabilities are its own again from the next reset.
    pub fn clear_faults(&mut self) {
        let Some(mut faults) = self.faults.take() else { return };
        self.fired = faults.fired;
        if faults.gone {
            self.ports.iter_mut().for_each(|port| _ = port.set_link(true));
            self.come_back();
            return;
        }
        while let Some(completion) = faults.late_completion(u64::MAX) {
            self.completions.push(&self.memory, Source::Ring, completion);
        }
        self.tables.mend();
        (0..self.ports.len()).for_each(|port| self.show_link(port, true));
        self.store_indices();
        // Interrupts that were lost or late: one of each vector announces all.
        let vectors = (0..=self.profile.queues).filter_map(|vector| u16::try_from(vector).ok());
        vectors.for_each(|vector| self.memory.raise(vector));
    }

    /// Takes a chance of a class: its amount when it strikes.
    #[inline]
    pub(crate) fn strikes(&mut self, class: Class) -> Option<u64> {
        let clock = self.clock;
        self.faults.as_mut()?.strikes(class, clock)
    }

    /// Whether a state that lasts is in force.
    #[inline]
    pub(crate) fn suffers(&self, class: Class) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.is(class, self.clock))
    }

    /// Whether the function is gone.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.gone)
    }

    /// Raises an interrupt, if it is not lost.
    pub(crate) fn raise(&mut self, vector: u16) {
        let clock = self.clock;
        if self.faults.as_mut().is_none_or(|faults| faults.interrupts(vector, clock)) {
            self.memory.raise(vector);
        }
    }

    /// What happens by itself: states that begin and end, chances of milliseconds, what is late.
    pub(crate) fn suffer(&mut self) {
        let Some(mut faults) = self.faults.take() else { return };
        let now = self.clock;
        let chances = faults.milliseconds(now);
        for class in Class::all().filter(|class| class.lasts()) {
            faults.enter(class, now, false);
            (0..chances).for_each(|_| faults.enter(class, now, true));
        }
        let removed = faults.is(Class::Removed, now);
        match (std::mem::replace(&mut faults.gone, removed), removed) {
            (false, true) => self.go_away(),
            (true, false) => self.come_back(),
            _ => {}
        }
        if !removed {
            self.suffer_present(&mut faults, chances);
        }
        self.faults = Some(faults);
    }

    /// As [`Self::suffer`], of a function that is there.
    fn suffer_present(&mut self, faults: &mut Faults, chances: u64) {
        let now = self.clock;
        if faults.strikes_in(Class::InterruptSpurious, now, chances) {
            let vector = faults.below(1 + self.profile.queues as usize);
            self.memory.raise(u16::try_from(vector).expect("at most 17 vectors"));
        }
        if faults.strikes_in(Class::ResetWanted, now, chances) {
            faults.wants_reset = true;
        }
        if faults.strikes_in(Class::EntryEcc, now, chances) {
            let draw = faults.draw();
            self.tables.break_entry(draw);
        }
        while let Some(vector) = faults.late_interrupt(now) {
            self.memory.raise(vector);
        }
        while let Some(completion) = faults.late_completion(now) {
            self.completions.push(&self.memory, Source::Ring, completion);
        }
        for port in 0..self.ports.len() {
            self.show_link(port, faults.link(port, now));
        }
        match (faults.garbled, faults.is(Class::RingGarbage, now)) {
            (false, true) => self.garble_index(faults),
            (true, false) => self.store_indices(),
            _ => {}
        }
        faults.garbled = faults.is(Class::RingGarbage, now);
    }

    /// Announces a link that changes.
    fn show_link(&mut self, port: usize, up: bool) {
        if !self.ports[port].set_link(up) {
            return;
        }
        let index = u32::try_from(port).expect("at most 64 ports");
        self.announce(opcode::LINK, index | u32::from(up) << 31);
    }

    /// Surprise removal: all registers read all ones, what was inside is lost.
    fn go_away(&mut self) {
        self.forget_all();
        for offset in (0..BAR_BYTES).step_by(4) {
            self.memory.store32(offset, u32::MAX);
        }
    }

    /// The function is back, powered up: it waits for a reset.
    fn come_back(&mut self) {
        for offset in (0..BAR_BYTES).step_by(4) {
            self.memory.store32(offset, 0);
        }
        power_up(&self.memory, &self.profile.capability().encode());
        self.power_on();
    }

    /// A ring index of the card shows garbage.
    fn garble_index(&self, faults: &mut Faults) {
        let queue = u32::try_from(faults.below(self.profile.queues as usize)).expect("16 at most");
        let offset = match faults.below(3) {
            0 => COMMAND_CONSUMER.offset,
            1 => of_queue(queue, queue::TX_CONSUMER),
            _ => of_queue(queue, queue::RX_PRODUCER),
        };
        let garbage = u32::try_from(faults.draw() >> 32).expect("32 bits");
        self.memory.store32(offset, garbage);
    }

    /// Every ring index shows what is true.
    fn store_indices(&self) {
        self.memory.store32(COMMAND_CONSUMER.offset, self.commands.consumer());
        for queue in &self.receive {
            queue.store_index(&self.memory);
        }
        for queue in &self.transmit {
            queue.store_index(&self.memory);
        }
    }

    /// What a sweep reports of a counter, and the counter, in a card that has faults.
    pub(crate) fn tear(&mut self, counter: u32, record: &mut Record) {
        let now = self.clock;
        let Some(faults) = &mut self.faults else { return };
        if record.entry == NO_ENTRY {
            return;
        }
        let counters = &mut record.counters;
        if faults.strikes(Class::CounterWrapped, now).is_some() {
            counters.packets = counters.packets.wrapping_sub(1 << 32);
            counters.bytes = counters.bytes.wrapping_sub(1 << 38);
            self.tables.set_counter(counter, *counters);
        }
        if faults.strikes(Class::CounterReset, now).is_some() {
            (counters.packets, counters.bytes) = (0, 0);
            self.tables.set_counter(counter, *counters);
        }
        if faults.strikes(Class::SweepTorn, now).is_some() {
            if faults.draw() & 1 == 0 {
                counters.packets = counters.packets.wrapping_add(1 << 32);
            } else {
                (counters.bytes, counters.last_hit) = (0, 0);
            }
        }
    }

    /// The card changes with this reset: it gets half its places and no hold queues, or has all
    /// again.
    pub(crate) fn change_capabilities(&mut self) {
        let own = self.own.take();
        match own {
            Some(own) => self.profile = *own,
            None => {
                self.own = Some(Box::new(self.profile.clone()));
                self.profile.set_capacity((self.profile.capacity() / 2).max(16));
                (self.profile.hold_frames, self.profile.hold_entries) = (0, 0);
            }
        }
        self.tables = Tables::new(&self.profile);
        store_bytes(&self.memory, CAPABILITY, &self.profile.capability().encode());
    }
}

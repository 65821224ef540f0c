//! What the plan comes to: draws, what is in force, what is held back, how often each class fired.

use super::class::{CLASSES, Class};
use super::plan::{Incident, Plan};
use twinpath_abi::completion::Completion;
use twinpath_abi::register::syndrome;

/// Chances of a millisecond taken at most in one step, when the clock jumps.
const JUMP_MAX: u64 = 64;
const MS: u64 = 1_000_000;

/// How often each class fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired([u64; CLASSES]);

impl Fired {
    /// Nothing fired.
    pub(crate) const NONE: Self = Self([0; CLASSES]);

    /// Of one class.
    #[must_use]
    pub const fn of(&self, class: Class) -> u64 {
        self.0[class.index()]
    }

    /// Of each class, in the order of [`Class::all`].
    pub fn iter(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::all().zip(self.0)
    }
}

/// When a state that lasts began to and ends.
#[derive(Clone, Copy, Debug, Default)]
struct Lasting {
    until: u64,
    /// A reset does not end it.
    survives: bool,
}

/// Completions in the order in which they are to be given now.
#[derive(Debug, Default)]
pub(crate) struct Answers([Option<Completion>; 4]);

impl Answers {
    fn push(&mut self, completion: Completion) {
        if let Some(free) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(completion);
        }
    }
}

impl IntoIterator for Answers {
    type Item = Completion;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Completion>, 4>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// A plan in force.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) plan: Plan,
    random: u64,
    pub(crate) fired: Fired,
    lasting: [Lasting; CLASSES],
    /// Links that are down, by port, until when (0: up).
    links: Vec<u64>,
    /// The next millisecond whose chances have not been taken.
    millisecond: u64,
    /// Completions that come late.
    late: Vec<(u64, Completion)>,
    /// A completion that lets the next one pass.
    passed: Option<(u64, Completion)>,
    /// Interrupts that come late.
    interrupts: Vec<(u64, u16)>,
    /// A request for a reset that is ignored.
    pub(crate) ignored: Option<u32>,
    /// The card asks for a reset.
    pub(crate) wants_reset: bool,
    /// Registers show that the function is gone.
    pub(crate) gone: bool,
    /// Ring indices are being garbled.
    pub(crate) garbled: bool,
    /// Packets wait for an update until then.
    pub(crate) busy_until: u64,
}

impl Faults {
    pub(crate) fn new(plan: Plan, fired: Fired, (ports, now): (usize, u64)) -> Self {
        Self {
            random: plan.seed,
            plan,
            fired,
            lasting: [Lasting::default(); CLASSES],
            links: vec![0; ports],
            millisecond: now / MS + 1,
            late: Vec::new(),
            passed: None,
            interrupts: Vec::new(),
            ignored: None,
            wants_reset: false,
            gone: false,
            garbled: false,
            busy_until: 0,
        }
    }

    /// The next number of the seeded generator (SplitMix64, Steele et al. 2014).
    pub(crate) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        usize::try_from(self.draw() % bound).expect("below a usize")
    }

    /// Takes a chance of a class: its amount when it strikes.
    pub(crate) fn strikes(&mut self, class: Class, now: u64) -> Option<u64> {
        let scripted = self.scripted(class, now).map(|incident| incident.amount);
        let amount = match scripted {
            Some(amount) => amount,
            None => self.by_chance(class)?,
        };
        self.fired.0[class.index()] += 1;
        Some(amount.unwrap_or_else(|| class.default_amount()))
    }

    /// Takes the chances of so many milliseconds: whether one of them struck.
    pub(crate) fn strikes_in(&mut self, class: Class, now: u64, milliseconds: u64) -> bool {
        let mut struck = self.scripted(class, now).is_some();
        for _ in 0..milliseconds {
            struck |= self.by_chance(class).is_some();
        }
        self.fired.0[class.index()] += u64::from(struck);
        struck
    }

    fn by_chance(&mut self, class: Class) -> Option<Option<u64>> {
        let rate = self.plan.rates[class.index()];
        let strikes = rate.one_in > 0 && self.draw().is_multiple_of(u64::from(rate.one_in));
        strikes.then_some(rate.amount)
    }

    /// The event of the script that is due; one without a duration is taken out.
    fn scripted(&mut self, class: Class, now: u64) -> Option<Incident> {
        self.plan.script.retain(|incident| !ended(incident, now));
        let due = |incident: &Incident| incident.class == class && incident.at <= now;
        let at = self.plan.script.iter().position(due)?;
        match self.plan.script[at].lasts {
            Some(_) => Some(self.plan.script[at]),
            None => Some(self.plan.script.remove(at)),
        }
    }

    /// Milliseconds whose chances are due, at most [`JUMP_MAX`].
    pub(crate) fn milliseconds(&mut self, now: u64) -> u64 {
        let next = now / MS + 1;
        let due = next.saturating_sub(self.millisecond);
        self.millisecond = next;
        due.min(JUMP_MAX)
    }

    /// Takes the chance of a state that lasts, unless it is in force.
    pub(crate) fn enter(&mut self, class: Class, now: u64, by_chance: bool) {
        if self.is(class, now) {
            return;
        }
        let entered = match self.scripted(class, now) {
            Some(incident) => {
                let amount = incident.amount.unwrap_or_else(|| class.default_amount());
                let until = match incident.lasts {
                    Some(lasts) => incident.at.saturating_add(lasts),
                    None => now.saturating_add(amount),
                };
                Lasting { until, survives: incident.lasts.is_some() }
            }
            None if by_chance => {
                let Some(amount) = self.by_chance(class) else { return };
                let amount = amount.unwrap_or_else(|| class.default_amount());
                Lasting { until: now.saturating_add(amount), survives: false }
            }
            None => return,
        };
        self.fired.0[class.index()] += 1;
        self.lasting[class.index()] = entered;
        if class == Class::LinkDown && !self.links.is_empty() {
            let port = self.below(self.links.len());
            self.links[port] = entered.until;
        }
    }

    /// Whether a state that lasts is in force.
    pub(crate) const fn is(&self, class: Class, now: u64) -> bool {
        now < self.lasting[class.index()].until
    }

    /// Whether the link of a port is up.
    pub(crate) fn link(&self, port: usize, now: u64) -> bool {
        self.links.get(port).is_none_or(|until| *until <= now)
    }

    /// A reset of the card: ends what a reset can end and drops what waited.
    pub(crate) fn reset(&mut self) {
        for class in [Class::RingGarbage, Class::HeartbeatStopped, Class::EngineDead] {
            let lasting = &mut self.lasting[class.index()];
            if !lasting.survives {
                lasting.until = 0;
            }
        }
        self.late.clear();
        self.passed = None;
        self.interrupts.clear();
        self.wants_reset = false;
        self.garbled = false;
        self.busy_until = 0;
    }

    /// Whether a card with so many entries is full.
    pub(crate) fn is_full(&mut self, used: u64, now: u64) -> bool {
        let class = Class::TableFull;
        let limit = |amount: Option<u64>| amount.unwrap_or_else(|| class.default_amount());
        let scripted = self.plan.script.iter().find(|due| due.class == class && due.at <= now);
        let rate = self.plan.rates[class.index()];
        let at = scripted
            .map(|due| limit(due.amount))
            .or_else(|| (rate.one_in > 0).then(|| limit(rate.amount)));
        at.is_some_and(|at| used >= at) && self.strikes(class, now).is_some()
    }

    /// How many slots too far the next record is written, or the syndrome of a DMA fault.
    pub(crate) fn aim(&mut self, now: u64) -> Result<u32, u32> {
        if self.strikes(Class::DmaUnmapped, now).is_some() {
            return Err(syndrome::DMA);
        }
        Ok(u32::from(self.strikes(Class::DmaWrong, now).is_some()))
    }

    /// What becomes of a completion.
    pub(crate) fn completion(&mut self, completion: Completion, now: u64) -> Answers {
        let mut answers = Answers::default();
        if self.strikes(Class::CompletionUnknownTag, now).is_some() {
            answers.push(Completion { tag: self.draw(), ..completion });
        }
        if self.strikes(Class::CompletionLost, now).is_none() {
            if let Some(delay) = self.strikes(Class::CompletionLate, now) {
                self.late.push((now.saturating_add(delay), completion));
            } else if self.passed.is_none()
                && let Some(delay) = self.strikes(Class::CompletionReordered, now)
            {
                self.passed = Some((now.saturating_add(delay), completion));
                return answers;
            } else {
                answers.push(completion);
                if self.strikes(Class::CompletionDuplicated, now).is_some() {
                    answers.push(completion);
                }
            }
        }
        if let Some((_, passed)) = self.passed.take() {
            answers.push(passed);
        }
        answers
    }

    /// A completion that waited and is due.
    pub(crate) fn late_completion(&mut self, now: u64) -> Option<Completion> {
        if let Some(at) = self.late.iter().position(|(due, _)| *due <= now) {
            return Some(self.late.remove(at).1);
        }
        self.passed.take_if(|(due, _)| *due <= now).map(|(_, completion)| completion)
    }

    /// Completions that wait here: their slots stay reserved.
    pub(crate) fn waiting(&self) -> usize {
        self.late.len() + usize::from(self.passed.is_some())
    }

    /// Whether an interrupt is to be raised now.
    pub(crate) fn interrupts(&mut self, vector: u16, now: u64) -> bool {
        if self.strikes(Class::InterruptLost, now).is_some() {
            return false;
        }
        if let Some(delay) = self.strikes(Class::InterruptLate, now) {
            self.interrupts.push((now.saturating_add(delay), vector));
            return false;
        }
        true
    }

    /// An interrupt that waited and is due.
    pub(crate) fn late_interrupt(&mut self, now: u64) -> Option<u16> {
        let at = self.interrupts.iter().position(|(due, _)| *due <= now)?;
        Some(self.interrupts.remove(at).1)
    }

    /// When something here is due next, after `now`.
    pub(crate) fn next_due(&self, now: u64) -> Option<u64> {
        let late = self.late.iter().map(|(due, _)| *due);
        let passed = self.passed.iter().map(|(due, _)| *due);
        let interrupts = self.interrupts.iter().map(|(due, _)| *due);
        let ends = self.lasting.iter().map(|lasting| lasting.until).chain(self.links.clone());
        let begins = self.plan.script.iter().filter(|incident| incident.class.has_no_chance());
        let times = ends.chain(begins.map(|incident| incident.at)).filter(|time| *time > now);
        late.chain(passed).chain(interrupts).chain(times).min()
    }
}

impl Class {
    /// Whether an event of a script begins by itself, at its time, not with an operation.
    const fn has_no_chance(self) -> bool {
        matches!(self.chance(), super::class::Chance::Millisecond)
    }
}

fn ended(incident: &Incident, now: u64) -> bool {
    incident.lasts.is_some_and(|lasts| incident.at.saturating_add(lasts) <= now)
}

//! Heat: the packets expected in a coming round, from those of past rounds.
//!
//! The average over up to 64 rounds, unless the flow has changed: when the deviations from it add up
//! to one side (a cumulative sum, Page 1954) beyond what chance and the flow's own habit explain, the
//! average begins anew. So noise is averaged away, a flow that comes or goes is noticed within a round,
//! and one that is bursty by habit keeps its average. Rounds without packets are folded in when the
//! heat is next looked at, so idle flows cost nothing.

use crate::coarse::Coarse;
use std::hint::select_unpredictable;

/// Heat of one packet per round.
pub(crate) const ONE: u64 = 256;

/// Rounds over which the average goes at most.
const ROUNDS_MAX: u8 = 64;

/// Silent rounds after which a flow is as good as new.
const FORGET_ROUNDS: u32 = 256;

/// Rounds over which the usual deviation is averaged.
const USUAL_ROUNDS: i64 = 8;

/// Packets per round, foreseen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heat {
    /// Packets of the round under way when packets were last counted, so far.
    packets: u32,
    /// Average of the rounds before, in 1/256 packets.
    mean: u32,
    /// Usual deviation from it.
    usual: Coarse,
    /// Sum of the last deviations, all to one side.
    drift: Coarse,
    /// The round when packets were last counted, modulo 65,536. A flow is idle for less: its age ends it
    /// long before, and if not, its heat is that of 54 minutes ago for a moment.
    round: u16,
    /// Of how many rounds `drift` is.
    drift_rounds: u8,
    /// Rounds that the average knows, at most [`ROUNDS_MAX`], and [`BELOW`].
    age: u8,
}

/// Bit of `age` that says that the last deviations were below the average.
const BELOW: u8 = 0x80;

/// A round as it is kept.
const fn low(round: u32) -> u16 {
    let [low, high, ..] = round.to_le_bytes();
    u16::from_le_bytes([low, high])
}

impl Heat {
    /// A flow without packets so far, in `round`.
    pub(crate) const fn new(round: u32) -> Self {
        let (usual, drift) = (Coarse::ZERO, Coarse::ZERO);
        Self { packets: 0, mean: 0, usual, drift, round: low(round), drift_rounds: 0, age: 0 }
    }

    /// A flow of which `heat` is expected each round from `round` on.
    pub(crate) fn of(heat: u64, round: u32) -> Self {
        Self { mean: u32::try_from(heat).unwrap_or(u32::MAX), age: 1, ..Self::new(round) }
    }

    /// The heat in `round`: packets expected in it, or those it has already had, times [`ONE`].
    pub(crate) fn at(mut self, round: u32) -> u64 {
        self.advance(round);
        let so_far = u64::from(self.packets) * ONE;
        so_far.max(self.mean.into())
    }

    /// The heat in `round` that is almost certain: two standard deviations of a Poisson count less.
    /// A few packets of a flow that nothing else is known of are nothing.
    pub(crate) fn sure_at(mut self, round: u32) -> u64 {
        self.advance(round);
        let mean = u64::from(self.mean);
        let age = u64::from(self.age & !BELOW).max(1);
        mean.saturating_sub(2 * (mean * ONE / age).isqrt())
    }

    /// Counts `packets` in `round`.
    pub(crate) fn add(&mut self, round: u32, packets: u64) {
        self.advance(round);
        self.packets = self.packets.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    /// Folds in the rounds before `round`, so that nobody has to do it again; says the same as before.
    pub(crate) fn advance(&mut self, round: u32) {
        let rounds = u32::from(low(round).wrapping_sub(self.round));
        if rounds == 0 || rounds > u32::from(u16::MAX - 8) {
            // Nothing to fold in: counted in this round already, or in a later one.
            return;
        }
        if rounds > FORGET_ROUNDS {
            *self = Self::new(round);
            return;
        }
        let count = u32::try_from(u64::from(self.packets) * ONE).unwrap_or(u32::MAX);
        let mut past = Past::of(self);
        for silent in 0..rounds {
            if silent > 0 && past.mean == 0 {
                break;
            }
            past.fold(if silent == 0 { count } else { 0 });
        }
        *self = past.heat();
        self.round = low(round);
    }
}

/// The rounds before, taken apart: most rounds of most flows are silent, and many are folded at once.
struct Past {
    mean: u32,
    usual: Coarse,
    drift: Coarse,
    drift_rounds: u8,
    age: u8,
    is_below: bool,
}

impl Past {
    fn of(heat: &Heat) -> Self {
        Self {
            mean: heat.mean,
            usual: heat.usual,
            drift: heat.drift,
            drift_rounds: heat.drift_rounds,
            age: heat.age & !BELOW,
            is_below: heat.age & BELOW != 0,
        }
    }

    fn heat(&self) -> Heat {
        let age = self.age | if self.is_below { BELOW } else { 0 };
        let Self { mean, usual, drift, drift_rounds, .. } = *self;
        Heat { packets: 0, mean, usual, drift, round: 0, drift_rounds, age }
    }

    /// Ends a round with so many packets, times [`ONE`].
    fn fold(&mut self, count: u32) {
        if self.age == 0 {
            self.age = 1;
            self.mean = count;
            return;
        }
        // Noise goes either way: no branch depends on which one.
        let (is_below, deviation) = (count < self.mean, count.abs_diff(self.mean));
        let goes_on = is_below == self.is_below;
        let drift = select_unpredictable(goes_on, self.drift.value(), 0);
        let rounds = select_unpredictable(goes_on, self.drift_rounds, 0);
        let (drift, rounds) = (drift.saturating_add(deviation), rounds.saturating_add(1));
        let usual = self.usual.value();
        let has_changed = self.is_unusual(drift, usual);
        let toward = i64::from(deviation) - i64::from(usual);
        self.usual = Coarse::new(saturated(i64::from(usual) + toward / USUAL_ROUNDS));
        self.is_below = is_below;
        if has_changed {
            self.step(drift / u32::from(rounds));
            (self.age, self.is_below) = (rounds.min(ROUNDS_MAX), false);
            (self.drift, self.drift_rounds) = (Coarse::ZERO, 0);
            return;
        }
        self.age = (self.age + 1).min(ROUNDS_MAX);
        let age = u32::from(self.age);
        // Downwards it is rounded up, so that a silent flow gets to zero.
        let up = select_unpredictable(is_below, age - 1, 0);
        self.step(deviation.saturating_add(up) / age);
        self.drift = Coarse::new(drift);
        self.drift_rounds = rounds;
    }

    /// Moves the average.
    fn step(&mut self, by: u32) {
        let (less, more) = (self.mean.saturating_sub(by), self.mean.saturating_add(by));
        self.mean = select_unpredictable(self.is_below, less, more);
    }

    /// Whether deviations of that sum are beyond habit and three standard deviations of a Poisson
    /// count.
    fn is_unusual(&self, drift: u32, usual: u32) -> bool {
        let habit = 4 * u64::from(usual) + ONE;
        let unusual = u64::from(drift).saturating_sub(habit);
        // Less than the square of 32 bits.
        unusual * unusual > 9 * u64::from(self.mean) * ONE
    }
}

fn saturated(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rounds: impl Iterator<Item = u64>) -> (Heat, u32) {
        let mut heat = Heat::new(0);
        let mut round = 0;
        for packets in rounds {
            heat.add(round, packets);
            round += 1;
        }
        (heat, round)
    }

    #[test]
    fn a_steady_flow_is_as_hot_as_its_packets_per_round() {
        let (heat, round) = after(std::iter::repeat_n(100, 50));
        assert_eq!(heat.at(round), 100 * ONE);
    }

    #[test]
    fn noise_is_averaged_away() {
        let noise = (0..200u64).map(|i| 100 + i * 7919 % 41 - 20);
        let (heat, round) = after(noise);
        assert!((95 * ONE..105 * ONE).contains(&heat.at(round)), "{}", heat.at(round));
    }

    #[test]
    fn a_flow_that_stops_is_cold_after_a_round_and_hot_as_soon_when_it_returns() {
        let (mut heat, round) = after(std::iter::repeat_n(100, 50));
        assert_eq!(heat.at(round), 100 * ONE);
        assert_eq!(heat.at(round + 1), 0);
        heat.add(round + 40, 100);
        assert_eq!(heat.at(round + 41), 100 * ONE);
    }

    #[test]
    fn a_flow_that_comes_every_other_round_keeps_its_average() {
        let (heat, round) = after((0..100).map(|i| i % 2 * 100));
        for later in 0..2 {
            assert!((35 * ONE..65 * ONE).contains(&heat.at(round + later)), "{later}");
        }
        assert!(heat.at(round + 30) < 5 * ONE, "but it can end");
    }

    #[test]
    fn a_few_packets_of_a_new_flow_are_not_sure() {
        let (scanner, round) = after([4].into_iter());
        assert_eq!(scanner.sure_at(round), 0);
        let (elephant, round) = after([400].into_iter());
        assert_eq!(elephant.sure_at(round), 360 * ONE);
        let (mouse, round) = after((0..60).map(|i| 3 + i % 3));
        assert!(mouse.sure_at(round) > 3 * ONE, "{}", mouse.sure_at(round));
    }

    #[test]
    fn a_rare_flow_keeps_its_average_between_its_packets() {
        let (heat, round) = after((0..320).map(|i| u64::from(i % 4 == 0)));
        for later in 0..3 {
            assert!((32..128).contains(&heat.at(round + later)), "{}", heat.at(round + later));
        }
        assert_eq!(heat.at(round + 1000), 0);
    }

    #[test]
    fn packets_of_the_round_under_way_count_at_once() {
        let mut heat = Heat::new(7);
        heat.add(7, 3);
        assert_eq!(heat.at(7), 3 * ONE);
        assert_eq!(heat.at(8), 3 * ONE);
    }
}

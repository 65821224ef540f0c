//! How the packet counters grew: enough to tell the second half of a run from the first.

/// Samples kept; when full, every second one is forgotten and the distance doubles.
const SAMPLES_MAX: usize = 4096;

/// Packets decided by card and software when so many had been received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Received.
    pub received: u64,
    /// Decided by the card.
    pub card: u64,
    /// Decided by software.
    pub software: u64,
}

/// Bounded samples of a run.
#[derive(Debug)]
pub(crate) struct History {
    samples: Vec<Sample>,
    distance: u64,
}

impl History {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { samples: vec![Sample::default()], distance: 1 }
    }

    /// Whether enough was received since the last sample for another one.
    pub(crate) fn is_due(&self, received: u64) -> bool {
        self.samples.last().is_none_or(|last| received >= last.received + self.distance)
    }

    /// Keeps a sample.
    pub(crate) fn keep(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.distance *= 2;
        }
        self.samples.push(sample);
    }

    /// What the card and software decided in the second half of all packets received until `now`.
    pub(crate) fn second_half(&self, now: Sample) -> (u64, u64) {
        let after = self.samples.partition_point(|sample| sample.received <= now.received / 2);
        let middle = after.checked_sub(1).map_or_else(Sample::default, |at| self.samples[at]);
        (now.card.saturating_sub(middle.card), now.software.saturating_sub(middle.software))
    }
}

/// Card's share of what was decided; `None` when nothing was, or nobody knows.
pub(crate) fn ratio(card: Option<u64>, software: u64) -> Option<f64> {
    let card = card?;
    let decided = card + software;
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    (decided > 0).then(|| card as f64 / decided as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_begins_at_half_of_the_packets_however_long_the_run() {
        for length in [1_u64, 10, 5000, 100_000] {
            let mut history = History::new();
            let half = length / 2;
            let at = |n: u64| Sample {
                received: n,
                card: n.saturating_sub(half),
                software: n.min(half),
            };
            for n in 1..=length {
                if history.is_due(n) {
                    history.keep(at(n));
                }
            }
            let (card, software) = history.second_half(at(length));
            assert_eq!(card, length - half, "{length}");
            assert!(software <= length / 1000, "{length}: {software}");
            assert!(history.samples.len() <= SAMPLES_MAX);
        }
    }

    #[test]
    fn nothing_decided_has_no_ratio() {
        assert_eq!(ratio(Some(0), 0), None);
        assert_eq!(ratio(Some(3), 1), Some(0.75));
    }
}

//! What many worlds did, in a few lines.

use super::Deeds;
use super::run::Found;
use super::scenario::Scenario;
use twinpath_hw_sim::fault::Class;

/// What worlds did, and those that failed.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Worlds that came to their end.
    pub worlds: u64,
    /// Sums.
    pub deeds: Deeds,
    /// Those that failed, and how.
    pub failed: Vec<(Scenario, Found)>,
}

impl Tally {
    /// One world more.
    pub fn add(&mut self, deeds: &Deeds) {
        self.worlds += 1;
        let sum = &mut self.deeds;
        sum.packets += deeds.packets;
        sum.by_card += deeds.by_card;
        sum.lost += deeds.lost;
        sum.changes += deeds.changes;
        sum.looks += deeds.looks;
        sum.time += deeds.time;
        sum.fired.iter_mut().zip(deeds.fired).for_each(|(sum, count)| *sum += count);
    }

    fn fired(&self, class: Class) -> u64 {
        self.deeds.fired[class.index()]
    }

    /// The classes of faults that never struck.
    #[must_use]
    pub fn never_struck(&self) -> Vec<Class> {
        Class::all().filter(|class| self.fired(*class) == 0).collect()
    }

    /// How often each class of faults struck, several a line.
    #[must_use]
    pub fn faults(&self) -> String {
        let mut lines = vec!["  faults:".to_owned()];
        for class in Class::all() {
            let word = format!(" {} {}", class.name(), self.fired(class));
            if lines.last().is_some_and(|line| line.len() + word.len() > 96) {
                lines.push("   ".to_owned());
            }
            if let Some(line) = lines.last_mut() {
                line.push_str(&word);
                line.push(',');
            }
        }
        lines.join("\n").trim_end_matches(',').to_owned()
    }

    /// Sums.
    #[must_use]
    pub fn line(&self) -> String {
        let deeds = &self.deeds;
        format!(
            "{:>5} worlds, {:>9} packets ({} % by card, {} lost), {} rule changes, {} looks, {:.0} s",
            self.worlds,
            deeds.packets,
            deeds.by_card * 100 / deeds.packets.max(1),
            deeds.lost,
            deeds.changes,
            deeds.looks,
            deeds.time.as_secs_f64(),
        )
    }
}

//! A time wheel: items come up when their bucket is due; nothing else is looked at.

use std::collections::BTreeMap;
use std::time::Duration;
use twinpath_flow::time::Time;

/// Width of a bucket: what is due in it comes up together.
const TICK: Duration = Duration::from_millis(50);

/// Items by the bucket in which they are due.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    buckets: BTreeMap<u128, Vec<T>>,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self { buckets: BTreeMap::new() }
    }
}

impl<T> Wheel<T> {
    /// Makes `item` come up at `due` or at most one bucket later.
    pub(crate) fn insert(&mut self, due: Time, item: T) {
        let bucket = u128::from(due.0) / TICK.as_nanos() + 1;
        self.buckets.entry(bucket).or_default().push(item);
    }

    /// Takes one item that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<T> {
        let bucket = u128::from(now.0) / TICK.as_nanos();
        let mut first = self.buckets.first_entry().filter(|first| *first.key() <= bucket)?;
        let item = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_up_once_and_never_early() {
        let mut wheel = Wheel::default();
        for millis in [0, 100, 250, 999, 1000, 5000] {
            wheel.insert(Time::from_millis(millis), millis);
        }
        let mut due = |now| -> Vec<u64> { std::iter::from_fn(|| wheel.pop_due(now)).collect() };
        assert_eq!(due(Time::from_millis(49)), [] as [u64; 0]);
        assert_eq!(due(Time::from_millis(1000)), [0, 100, 250, 999]);
        assert_eq!(due(Time::from_millis(1050)), [1000]);
        assert_eq!(due(Time::from_secs(9)), [5000]);
    }
}

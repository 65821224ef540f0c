//! A time wheel: items come up when their bucket is due; nothing else is looked at.

use std::collections::BTreeMap;
use std::time::Duration;
use twinpath_flow::time::Time;

/// Width of a bucket.
const TICK: Duration = Duration::from_millis(250);

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

    /// Takes what is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<T> {
        let bucket = u128::from(now.0) / TICK.as_nanos();
        let later = self.buckets.split_off(&(bucket + 1));
        let due = std::mem::replace(&mut self.buckets, later);
        due.into_values().flatten().collect()
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
        assert_eq!(wheel.take_due(Time::from_millis(249)), [] as [u64; 0]);
        assert_eq!(wheel.take_due(Time::from_millis(1000)), [0, 100, 250, 999]);
        assert_eq!(wheel.take_due(Time::from_millis(1250)), [1000]);
        assert_eq!(wheel.take_due(Time::from_secs(9)), [5000]);
    }
}

//! A time wheel: items come up when their bucket is due; nothing else is looked at.

use std::collections::BTreeMap;
use std::time::Duration;
use twinpath_flow::time::Time;

/// Width of a bucket: what is due in it comes up together.
const TICK: Duration = Duration::from_millis(50);

/// Items of the first chunk of a bucket; each next one has twice as many, up to [`CHUNK_MAX`].
const CHUNK_MIN: usize = 16;

/// Items of a chunk at most.
const CHUNK_MAX: usize = 4096;

/// Items by the bucket in which they are due, in chunks, so that a bucket of very many takes no more
/// memory than they need.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    buckets: BTreeMap<u64, Vec<Vec<T>>>,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self { buckets: BTreeMap::new() }
    }
}

impl<T> Wheel<T> {
    /// Makes `item` come up at `due` or at most one bucket later.
    pub(crate) fn insert(&mut self, due: Time, item: T) {
        let chunks = self.buckets.entry(bucket(due) + 1).or_default();
        let last = chunks.last().map_or(CHUNK_MIN / 2, Vec::capacity);
        match chunks.last_mut().filter(|chunk| chunk.len() < chunk.capacity()) {
            Some(chunk) => chunk.push(item),
            None => {
                let mut chunk = Vec::with_capacity((2 * last).min(CHUNK_MAX));
                chunk.push(item);
                chunks.push(chunk);
            }
        }
    }

    /// Takes one item that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<T> {
        let mut first = self.buckets.first_entry().filter(|one| *one.key() <= bucket(now))?;
        let chunks = first.get_mut();
        let item = chunks.last_mut().and_then(Vec::pop);
        chunks.pop_if(|chunk| chunk.is_empty());
        if chunks.is_empty() {
            first.remove();
        }
        item
    }
}

/// Number of the bucket of a time.
fn bucket(time: Time) -> u64 {
    time.0 / u64::try_from(TICK.as_nanos()).expect("milliseconds")
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

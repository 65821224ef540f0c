//! Records by number, in chunks: growing moves nothing, and nothing is kept in store.

/// Records of a chunk.
const CHUNK: usize = 1024;

/// Records by number; a number without a record is vacant.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Numbers so far, vacant ones included.
    pub(crate) fn numbers(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Adds a record under the next number, [`Self::numbers`] before.
    pub(crate) fn push(&mut self, record: T) {
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(Some(record)),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Some(record));
                self.chunks.push(chunk);
            }
        }
    }

    /// Makes vacant numbers, up to so many in all.
    pub(crate) fn extend_vacant(&mut self, numbers: usize) {
        while self.numbers() < numbers {
            if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
            if let Some(last) = self.chunks.last_mut() {
                last.push(None);
            }
        }
    }

    /// The place of a number, `None` when there was none like it.
    pub(crate) fn slot_mut(&mut self, number: usize) -> Option<&mut Option<T>> {
        self.chunks.get_mut(number / CHUNK)?.get_mut(number % CHUNK)
    }

    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.slot_mut(number)?.as_mut()
    }

    /// All places in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&T>> {
        self.chunks.iter().flatten().map(Option::as_ref)
    }

    /// As [`Self::iter`], to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = Option<&mut T>> {
        self.chunks.iter_mut().flatten().map(Option::as_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_numbers() {
        let mut slab = Slab::default();
        (0..3000).for_each(|number: usize| slab.push(number));
        assert_eq!((slab.numbers(), slab.get(2047), slab.get(3000)), (3000, Some(&2047), None));
        assert_eq!(slab.slot_mut(5).and_then(Option::take), Some(5));
        assert_eq!((slab.get(5), slab.numbers()), (None, 3000));
        assert_eq!(slab.iter().flatten().count(), 2999);
    }
}

//! Elements by number, in pieces of fixed size: growing moves nothing and stops nobody for long.

/// Elements of a piece.
const PIECE: usize = 1024;

/// A growing array.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pieces: Vec<Box<[T; PIECE]>>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }
}

impl<T: Copy> Slab<T> {
    /// Number of elements.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds an element behind the others.
    pub(crate) fn push(&mut self, element: T) {
        if self.len == self.pieces.len() * PIECE {
            let piece: Box<[T]> = vec![element; PIECE].into_boxed_slice();
            let piece = piece.try_into();
            self.pieces.push(piece.unwrap_or_else(|_| unreachable!("a piece is that long")));
        }
        let at = self.len;
        self.len += 1;
        self.pieces[at / PIECE][at % PIECE] = element;
    }

    /// The element of that number.
    ///
    /// # Panics
    /// There is no piece for it.
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> &T {
        let index = index as usize;
        &self.pieces[index / PIECE][index % PIECE]
    }

    /// The element of that number, to be changed.
    ///
    /// # Panics
    /// There is no piece for it.
    #[inline(always)]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        &mut self.pieces[index / PIECE][index % PIECE]
    }

    /// All elements in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.iter()).take(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are() {
        let mut slab = Slab::default();
        for number in 0..3000_u32 {
            slab.push(number);
        }
        *slab.at_mut(2048) = 7;
        assert_eq!((slab.len(), *slab.at(2047), *slab.at(2048)), (3000, 2047, 7));
        assert_eq!(slab.iter().count(), 3000);
    }
}

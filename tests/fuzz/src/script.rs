//! Bytes as a list of things to do: a target draws numbers and pieces from its input.

/// What is left of an input. Beyond its end everything is zero.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// A script of all of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// At most `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        let mut number = [0; N];
        let bytes = self.bytes(N);
        number[..bytes.len()].copy_from_slice(bytes);
        number
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.number::<1>()[0]
    }

    /// Two bytes, little-endian.
    pub fn word16(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    /// Four bytes, little-endian.
    pub fn word32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    /// Eight bytes, little-endian.
    pub fn word64(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    /// A piece that says its own length in two bytes.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = self.word16();
        self.bytes(usize::from(length))
    }
}

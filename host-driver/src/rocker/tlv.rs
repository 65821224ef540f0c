//! Type-length-value coding of commands, events and packets.
//!
//! Header of 8 bytes: type u32, length u16 (header included, padding not), 2 reserved; then the
//! value, zero padded to a multiple of 8. Types, lengths and the driver's own numbers are
//! little-endian; what is compared with packets is big-endian.

use twinpath_flow::port::Mac;

/// Bytes of a header.
const HEADER_BYTES: usize = 8;

/// Writes TLVs one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

/// A message that no TLV can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message of {0} bytes is too long for its buffer")]
pub(crate) struct TooLong(pub(crate) usize);

impl Writer {
    /// The bytes written, if they fit a buffer of `limit` bytes and a 16-bit length.
    ///
    /// The device does not check lengths against its buffers, so this is where it is done.
    pub(crate) fn finish(self, limit: usize) -> Result<Vec<u8>, TooLong> {
        let length = self.bytes.len();
        // Nests are shorter than the message, so their 16-bit lengths hold if this one does.
        let fits = length <= limit && u16::try_from(length).is_ok();
        if fits { Ok(self.bytes) } else { Err(TooLong(length)) }
    }

    /// The bytes written, for no buffer of the device.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn bytes(&mut self, kind: u32, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    pub(crate) fn byte(&mut self, kind: u32, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(crate) fn word(&mut self, kind: u32, value: u16) {
        self.bytes(kind, &value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, kind: u32, value: u32) {
        self.bytes(kind, &value.to_le_bytes());
    }

    pub(crate) fn quad(&mut self, kind: u32, value: u64) {
        self.bytes(kind, &value.to_le_bytes());
    }

    /// A 16-bit value in network order.
    pub(crate) fn network(&mut self, kind: u32, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn mac(&mut self, kind: u32, value: Mac) {
        self.bytes(kind, &value);
    }

    /// A value that is itself a run of TLVs.
    pub(crate) fn nest(&mut self, kind: u32, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind);
        fill(self);
        self.close(start);
    }

    fn open(&mut self, kind: u32) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        start
    }

    fn close(&mut self, start: usize) {
        // Cut off only in messages that `finish` refuses.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start + 4..start + 6].copy_from_slice(&length.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}

/// One TLV read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tlv<'a> {
    /// Type.
    pub kind: u32,
    /// Value without padding.
    pub value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// The value as a little-endian number of at most 8 bytes.
    pub(crate) fn number(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes.get_mut(..self.value.len())?.copy_from_slice(self.value);
        Some(u64::from_le_bytes(bytes))
    }
}

/// What was read is no run of TLVs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a run of TLVs")]
pub(crate) struct Malformed;

/// Reads TLVs one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The last TLV of a type, as the device reads it.
    pub(crate) fn find(self, wanted: u32) -> Result<Option<Tlv<'a>>, Malformed> {
        let mut found = None;
        for tlv in self {
            let tlv = tlv?;
            if tlv.kind == wanted {
                found = Some(tlv);
            }
        }
        Ok(found)
    }

    fn read(&mut self) -> Result<Tlv<'a>, Malformed> {
        let header = self.rest.first_chunk::<HEADER_BYTES>().ok_or(Malformed)?;
        let [a, b, c, d, low, high, ..] = *header;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let value = self.rest.get(HEADER_BYTES..length).ok_or(Malformed)?;
        // The last one may lack its padding.
        self.rest = self.rest.get(length.next_multiple_of(8)..).unwrap_or_default();
        Ok(Tlv { kind: u32::from_le_bytes([a, b, c, d]), value })
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_little_endian_and_padded_network_values_big_endian() {
        let mut writer = Writer::default();
        writer.nest(2, |inner| {
            inner.word(1, 60);
            inner.network(14, 0x0102);
        });
        let bytes = writer.finish(64).unwrap();
        #[rustfmt::skip]
        assert_eq!(bytes, [
            2, 0, 0, 0, 40, 0, 0, 0,
            1, 0, 0, 0, 10, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0,
            14, 0, 0, 0, 10, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0,
        ]);
        let nest = Tlvs::new(&bytes).find(2).unwrap().unwrap();
        let nested = Tlvs::new(nest.value);
        assert_eq!(nested.find(1).unwrap().unwrap().number(), Some(60));
        assert_eq!(nested.find(3), Ok(None));
    }

    #[test]
    fn a_message_longer_than_its_buffer_is_never_written() {
        let mut writer = Writer::default();
        writer.bytes(1, &[0; 100]);
        assert_eq!(writer.clone().finish(104), Err(TooLong(112)));
        assert_eq!(writer.finish(112).map(|bytes| bytes.len()), Ok(112));
        let mut writer = Writer::default();
        writer.bytes(1, &[0; 70_000]);
        assert_eq!(writer.finish(100_000), Err(TooLong(70_008)));
    }

    #[test]
    fn lengths_shorter_than_a_header_or_beyond_the_end_are_malformed() {
        for length in [0, 7, 25, 0xffff_u16] {
            let mut bytes = [0; 24];
            bytes[4..6].copy_from_slice(&length.to_le_bytes());
            assert_eq!(Tlvs::new(&bytes).find(0), Err(Malformed), "{length}");
        }
        assert_eq!(Tlvs::new(&[1, 2, 3]).find(0), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            values in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..9),
        ) {
            let mut writer = Writer::default();
            values.iter().for_each(|(kind, value)| writer.bytes(*kind, value));
            let bytes = writer.finish(4096).unwrap();
            let read: Result<Vec<_>, _> = Tlvs::new(&bytes).collect();
            let read: Vec<_> = read.unwrap().iter().map(|tlv| (tlv.kind, tlv.value.to_vec())).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_end_in_tlvs_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Tlvs::new(&bytes).count() <= 11);
        }
    }
}

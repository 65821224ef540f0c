//! A frame as the device takes it apart: addresses, at most one 0x8100 tag, type, rest.

/// The parts.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) destination: [u8; 6],
    pub(crate) source: [u8; 6],
    pub(crate) tci: Option<u16>,
    /// The tag was put there by the device.
    pub(crate) inserted: bool,
    pub(crate) ethertype: u16,
    pub(crate) rest: Vec<u8>,
}

impl Parts {
    /// `None` for what would crash: no room for the headers the types announce.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        let mut ethertype = word(12)?;
        let (mut at, mut tci) = (14, None);
        if ethertype == 0x8100 {
            tci = Some(word(14)?);
            ethertype = word(16)?;
            at = 18;
        }
        let rest = frame[at..].to_vec();
        let needed = match ethertype {
            0x0800 => 20,
            0x86dd => 40,
            _ => 0,
        };
        let [destination, source] = [&frame[..6], &frame[6..12]].map(|mac| mac.try_into().unwrap());
        let parts = Self { destination, source, tci, inserted: false, ethertype, rest };
        (parts.rest.len() >= needed).then_some(parts)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.destination, self.source].concat();
        if let Some(tci) = self.tci {
            bytes.extend([0x81, 0x00]);
            bytes.extend(tci.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend(&self.rest);
        bytes
    }
}

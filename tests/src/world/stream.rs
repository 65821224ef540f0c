//! Streams: packets of one key, told apart by a number they carry.

use twinpath_flow::key::Key;
use twinpath_flow::parse::{self, Standing};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::sample::{self, Random};

/// Bytes of the number.
const TAG: usize = 6;

/// Tries to make a stream.
const TRIES_MAX: usize = 50;

/// Packets of one key on one port.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its number in the world, never used again.
    pub number: u64,
    /// Where its packets come in.
    pub port: PortNo,
    /// The key of all of them.
    pub key: Key,
    frame: Vec<u8>,
    tag_at: usize,
}

impl Stream {
    /// A random stream.
    pub fn new(random: &mut Random, ports: &PortTable, number: u64) -> Self {
        let mut made = None;
        for _ in 0..TRIES_MAX {
            let (port, frame) = sample::frame(random, ports);
            made = Self::of(number, (port, frame), ports);
            if made.is_some() {
                break;
            }
        }
        made.unwrap_or_else(|| Self::plain(number, ports))
    }

    /// A stream of that frame, if it has room for a number that no rule can see.
    fn of(number: u64, (port, frame): (PortNo, Vec<u8>), ports: &PortTable) -> Option<Self> {
        let mut longer = frame.clone();
        longer.extend_from_slice(&[0; TAG]);
        let inside = frame.len().checked_sub(TAG).filter(|at| *at >= 14).map(|at| (frame, at));
        let behind = longer.len() - TAG;
        inside.into_iter().chain([(longer, behind)]).find_map(|(frame, tag_at)| {
            let mut stream = Self { number, port, key: Key::ZERO, frame, tag_at };
            let keys = [0, u64::MAX].map(|tag| {
                let parsed = parse::parse(&stream.packet(tag), port, ports);
                (parsed.standing != Standing::Malformed).then_some(parsed.key)
            });
            stream.key = keys[0]?;
            (keys[0] == keys[1]).then_some(stream)
        })
    }

    /// A frame that no protocol claims, for when nothing else was found.
    fn plain(number: u64, ports: &PortTable) -> Self {
        let port = ports.physical().next().map(|port| port.number).unwrap_or_default();
        let mut frame = vec![2; 60];
        frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
        let key = parse::parse(&frame, port, ports).key;
        Self { number, port, key, frame, tag_at: 54 }
    }

    /// The packet of that number.
    #[must_use]
    pub fn packet(&self, number: u64) -> Vec<u8> {
        let mut frame = self.frame.clone();
        frame[self.tag_at..self.tag_at + TAG].copy_from_slice(&number.to_be_bytes()[8 - TAG..]);
        frame
    }
}

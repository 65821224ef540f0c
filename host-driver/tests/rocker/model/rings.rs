//! Rings: commands and sending within the doorbell, events and received frames into what is
//! posted.

use super::State;
use super::commands::{Attributes, put};

/// One ring's registers.
#[derive(Clone, Copy, Default)]
pub(crate) struct RingState {
    base: u64,
    size: u32,
    head: u32,
    tail: u32,
    credits: u32,
}

/// A descriptor.
pub(crate) struct Descriptor {
    at: u64,
    pub(crate) buffer: u64,
    pub(crate) buffer_bytes: u16,
    pub(crate) tlv_bytes: u16,
}

const EVENT: usize = 1;

impl State {
    pub(crate) fn read_ring(&self, offset: u32) -> u64 {
        let Some(ring) = self.rings.get((offset as usize - 0x1000) / 32) else { return 0 };
        match offset % 32 {
            0x00 => ring.base,
            0x08 => ring.size.into(),
            0x0c => ring.head.into(),
            0x10 => ring.tail.into(),
            0x18 => ring.credits.into(),
            _ => 0,
        }
    }

    pub(crate) fn write_ring(&mut self, offset: u32, value: u64) {
        let number = (offset as usize - 0x1000) / 32;
        let Some(ring) = self.rings.get_mut(number) else { return };
        let low = value as u32;
        match offset % 32 {
            0x00 if value.is_multiple_of(8) => ring.base = value,
            0x08 if low.is_power_of_two() && (2..=65536).contains(&low) => {
                (ring.size, ring.head, ring.tail) = (low, 0, 0);
            }
            0x0c => self.doorbell(number, low),
            0x14 if low & 1 == 1 => *ring = RingState::default(),
            0x18 => {
                ring.credits = ring.credits.saturating_sub(low);
                if ring.credits > 0 {
                    self.interrupt(vector(number));
                }
            }
            _ => {}
        }
    }

    fn doorbell(&mut self, number: usize, new: u32) {
        let RingState { base, size, head, tail, .. } = self.rings[number];
        let passes = (head < tail && (new >= tail || new < head))
            || (head > tail && tail <= new && new < head);
        if base == 0 || new >= size || passes {
            return;
        }
        self.rings[number].head = new;
        let consumes = number == 0 || (number >= 2 && number.is_multiple_of(2));
        while consumes && self.rings[number].tail != new {
            let (descriptor, bytes) = self.take(number);
            if descriptor.tlv_bytes > descriptor.buffer_bytes {
                self.note("tlv_size beyond buf_size: read past the buffer");
            }
            let (error, reply) = if descriptor.buffer_bytes == 0 {
                (6, None)
            } else {
                let request = self.dma_read(descriptor.buffer, descriptor.tlv_bytes.into());
                match number {
                    0 => self.command(&request),
                    _ => (self.transmit(number as u32 / 2, &request), None),
                }
            };
            self.complete(number, (&descriptor, bytes), error, reply.as_deref());
        }
    }

    /// The descriptor at the tail, which moves on.
    fn take(&mut self, number: usize) -> (Descriptor, Vec<u8>) {
        let ring = &mut self.rings[number];
        let at = ring.base + 32 * u64::from(ring.tail);
        ring.tail = (ring.tail + 1) & (ring.size - 1);
        let bytes = self.dma_read(at, 32);
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let descriptor = Descriptor {
            at,
            buffer: u64::from_le_bytes(bytes[..8].try_into().unwrap()),
            buffer_bytes: word(16),
            tlv_bytes: word(18),
        };
        (descriptor, bytes)
    }

    fn complete(
        &mut self,
        number: usize,
        (descriptor, mut bytes): (&Descriptor, Vec<u8>),
        error: u16,
        reply: Option<&[u8]>,
    ) {
        let mut error = error;
        match reply {
            Some(reply) if reply.len() > descriptor.buffer_bytes.into() => error = 90,
            Some(reply) => {
                self.dma_write(descriptor.buffer, reply);
                bytes[18..20].copy_from_slice(&(reply.len() as u16).to_le_bytes());
            }
            None => {}
        }
        bytes[30..32].copy_from_slice(&(0x8000 | error).to_le_bytes());
        self.dma_write(descriptor.at, &bytes);
        let ring = &mut self.rings[number];
        ring.credits += 1;
        if ring.credits == 1 {
            self.interrupt(vector(number));
        }
    }

    fn is_posted(&self, number: usize) -> bool {
        let ring = &self.rings[number];
        ring.base != 0 && ring.head != ring.tail
    }

    pub(crate) fn tell_link(&mut self, port: u32) {
        if !self.is_posted(EVENT) {
            return;
        }
        let up = self.links() >> port & 1 == 1;
        let (mut event, mut info) = (Vec::new(), Vec::new());
        put(&mut info, 1, &port.to_le_bytes());
        put(&mut info, 2, &[up.into()]);
        put(&mut event, 1, &1_u32.to_le_bytes());
        put(&mut event, 2, &info);
        let taken = self.take(EVENT);
        self.complete(EVENT, (&taken.0, taken.1), 0, Some(&event));
    }

    /// A frame goes to the host, on the ring of the port it came in on.
    pub(crate) fn hand_to_host(&mut self, port: u32, frame: &[u8]) {
        let number = 2 * port as usize + 1;
        if !self.is_posted(number) {
            self.overruns += 1;
            return;
        }
        let (descriptor, bytes) = self.take(number);
        let posted = self.dma_read(descriptor.buffer, descriptor.tlv_bytes.into());
        let posted = Attributes::read(&posted);
        let (Some(at), Some(most)) = (posted.number(3), posted.number(4)) else {
            return self.complete(number, (&descriptor, bytes), 22, None);
        };
        if frame.len() as u64 > most {
            return self.complete(number, (&descriptor, bytes), 90, None);
        }
        self.dma_write(at, frame);
        let mut reply = Vec::new();
        put(&mut reply, 1, &0_u16.to_le_bytes());
        put(&mut reply, 2, &0_u16.to_le_bytes());
        put(&mut reply, 3, &at.to_le_bytes());
        put(&mut reply, 4, &(most as u16).to_le_bytes());
        let length = if self.corrupt_receive { u16::MAX } else { frame.len() as u16 };
        put(&mut reply, 5, &length.to_le_bytes());
        self.complete(number, (&descriptor, bytes), 0, Some(&reply));
    }

    fn transmit(&mut self, port: u32, request: &[u8]) -> u16 {
        let request = Attributes::read(request);
        let Some(fragments) = request.nest(5) else { return 22 };
        let mut frame = Vec::new();
        if fragments.len() > 16 {
            return 0;
        }
        for fragment in fragments.each() {
            let (Some(at), Some(length)) = (fragment.number(1), fragment.number(2)) else {
                return 22;
            };
            frame.extend(self.dma_read(at, length as usize));
        }
        if self.enabled >> port & 1 == 1 && !frame.is_empty() {
            self.sent.push((port, frame));
        }
        0
    }
}

fn vector(ring: usize) -> usize {
    if ring < 2 { ring } else { ring + 2 }
}

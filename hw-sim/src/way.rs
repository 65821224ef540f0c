//! A packet's way through the card (`docs/nic-abi.md` §8.1).

use crate::bugs::Bugs;
use crate::card::Card;
use crate::decap::{Parsed, parse};
use crate::edit::{edit, is_ttl_exception};
use crate::encap::{Carried, encapsulate};
use crate::entries::{KeyWords, State, key_words, word32};
use crate::fault::Class;
use crate::hold::Arrival;
use crate::receive::Undelivered;
use crate::tables::Location;
use twinpath_abi::bus::CardMemory;
use twinpath_abi::completion::Counters;
use twinpath_abi::entry::{EntryImage, NO_ENTRY, field};
use twinpath_abi::hash;
use twinpath_abi::key::{ETH_TYPE, IP_TOS, TUN_ID};
use twinpath_abi::receive::{MirrorPart, Receive, ReceiveReason};
use twinpath_abi::register::control;

/// What a frame for the host is accompanied by.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    reason: ReceiveReason,
    entry: u32,
    mark: u32,
    mirror: MirrorPart,
}

/// A received frame, borrowed: the port it came in on, when, and in which generation.
#[derive(Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) frame: &'a [u8],
    pub(crate) port: u16,
    pub(crate) time: u64,
    pub(crate) generation: u32,
}

impl<M: CardMemory> Card<M> {
    /// Steps 1 to 8 for a frame that arrives now.
    pub(crate) fn receive(&mut self, frame: &[u8], index: u16) {
        let port = &mut self.ports[usize::from(index)];
        if !port.is_open() {
            port.count().rx_refused += 1;
            return;
        }
        let (number, length) = (port.number, frame.len() as u64);
        let too_long = length > u64::from(port.mtu_in);
        let counters = port.count();
        counters.rx_packets += 1;
        counters.rx_bytes += length;
        if too_long {
            counters.rx_too_long += 1;
            return;
        }
        let received =
            Received { frame, port: index, time: self.clock, generation: self.front.generation };
        let parsed = parse(frame, index, number, &self.tunnels);
        if self.control & control::TABLES == 0 {
            self.miss(received, &parsed, ReceiveReason::NoEntry, NO_ENTRY);
            return;
        }
        if parsed.exception {
            self.miss(received, &parsed, ReceiveReason::Exception, NO_ENTRY);
            return;
        }
        let key = key_words(&parsed.key);
        let met = match self.profile.bugs.wide_match {
            0 => self.tables.lookup(&key, received.generation),
            _ => self.tables.lookup_wide(&key, received.generation),
        };
        match met {
            None => self.miss(received, &parsed, ReceiveReason::NoEntry, NO_ENTRY),
            Some(at) if self.tables.of(at).state(at.place) == State::Held => {
                let at = self.yielding(at, &key, received.generation);
                self.meet(at, received, &parsed);
            }
            Some(at) => self.meet(at, received, &parsed),
        }
    }

    /// What a packet meets whose first entry is held: one that serves if there is any, else the one
    /// that has been held longest (§6.3). The others must not be released before that one.
    fn yielding(&mut self, first: Location, key: &KeyWords, generation: u32) -> Location {
        let matching = self.tables.matching(key, generation);
        let serves = |at: &&Location| self.tables.of(**at).state(at.place) == State::Direct;
        match matching.iter().find(serves) {
            Some(serving) => *serving,
            None => self.holds.first_of(&matching).unwrap_or(first),
        }
    }

    /// Steps 6 to 8: the packet has met an entry.
    fn meet(&mut self, at: Location, received: Received<'_>, parsed: &Parsed) {
        let table = self.tables.of(at);
        let image = EntryImage::decode(&table.image(at.place)).expect("ADD checked the image");
        if is_ttl_exception(&parsed.key, &image.edit) {
            self.miss(received, parsed, ReceiveReason::Exception, image.id);
            return;
        }
        if table.state(at.place) == State::Held {
            let arrival = Arrival {
                frame: self.pool.copy(received.frame),
                parsed: *parsed,
                port: received.port,
                time: received.time,
                generation: received.generation,
            };
            let full = self.faults.is_some() && self.strikes(Class::HoldOverflow).is_some();
            let max = if full { 0 } else { self.profile.hold_frames as usize };
            if let Some(overflow) = self.holds.keep(at, arrival, max) {
                self.cancel_hold(at, Some(overflow));
            }
            return;
        }
        self.forward(at, &image, received, parsed);
    }

    /// Step 8: counts, edits and sends.
    pub(crate) fn forward(
        &mut self,
        at: Location,
        image: &EntryImage,
        received: Received<'_>,
        parsed: &Parsed,
    ) {
        let sample = self.sample(at, image.id, parsed);
        self.tables.count(at, received.frame.len(), received.time);
        if Bugs::hit(self.profile.bugs.miscount, &image.matching) {
            self.tables.count(at, received.frame.len(), received.time);
        }
        self.ports[usize::from(received.port)].count().decided += 1;
        let sent = self.edit_and_send(image, received, parsed, sample);
        if let Some(sample) = sample {
            let Counters { packets, bytes, .. } = self.tables.counters(at);
            let mirror = MirrorPart { parts: sent, packets, bytes, ..sample };
            self.deliver_sample(received.frame, received, parsed, (image.id, mirror));
        }
    }

    /// Whether a frame of the entry is sampled (§8.9).
    fn sample(&mut self, at: Location, id: u32, parsed: &Parsed) -> Option<MirrorPart> {
        let order = self.mirror.choose(id, self.tables.counters(at).packets)?;
        let queues = u32::try_from(self.receive.len()).expect("at most 16 queues");
        let queue = self.receive.get(hash::queue(&parsed.key, queues) as usize)?;
        if queue.is_half_full(&self.memory) {
            self.mirror.withdraw(id);
            return None;
        }
        let sample = self.mirror.begin();
        Some(MirrorPart { sample, order: Some(order), ..MirrorPart::NONE })
    }

    /// Edits and sends, and delivers what is sent if the frame is sampled; how many that were.
    fn edit_and_send(
        &mut self,
        image: &EntryImage,
        received: Received<'_>,
        parsed: &Parsed,
        sample: Option<MirrorPart>,
    ) -> u8 {
        let action = &image.edit;
        let mut sent = 0;
        if action.outputs == 0 && action.tunnel.is_none() && action.to_host.is_none() {
            return sent;
        }
        let mut packet = std::mem::take(&mut self.packet);
        let mut headers = parsed.headers;
        packet.fill(received.frame);
        parsed.open(&mut packet);
        edit(&mut packet, &mut headers, &image.set, action);
        let mut outputs = action.outputs;
        if Bugs::hit(self.profile.bugs.wrong_port, &image.matching) {
            outputs = next_port(outputs, self.ports.len());
        }
        let mut leave = |card: &mut Self, port: usize, bytes: &[u8]| {
            if card.send(port, bytes)
                && let Some(sample) = sample
            {
                sent += 1;
                let left_by = u16::try_from(port).expect("at most 64 ports");
                let mirror = MirrorPart { part: sent, left_by, ..sample };
                card.deliver_sample(bytes, received, parsed, (image.id, mirror));
            }
        };
        while outputs != 0 {
            let port = outputs.trailing_zeros() as usize;
            outputs &= outputs - 1;
            leave(self, port, packet.bytes());
        }
        if let Some(mark) = action.to_host {
            let reason = ReceiveReason::ToHost;
            let delivery = Delivery { reason, entry: image.id, mark, mirror: MirrorPart::NONE };
            // A copy for which the host has no room is lost; the packet was decided all the same.
            let _lost = self.deliver(packet.bytes(), received, parsed, delivery);
        }
        let tunnel = action.tunnel.and_then(|index| self.tunnels.get(usize::from(index)));
        if let Some(tunnel) = tunnel.copied().flatten() {
            let carried = Carried {
                key: &parsed.key,
                headers: &headers,
                tos: inner_tos(image, parsed),
                tun_id: tunnel_id(image, parsed),
            };
            if encapsulate(&mut packet, carried, action, &tunnel) {
                leave(self, usize::from(tunnel.over), packet.bytes());
            }
        }
        self.packet = packet;
        sent
    }

    fn deliver_sample(
        &mut self,
        bytes: &[u8],
        received: Received<'_>,
        parsed: &Parsed,
        (entry, mirror): (u32, MirrorPart),
    ) {
        let delivery = Delivery { reason: ReceiveReason::Mirror, entry, mark: 0, mirror };
        // A sample for which there is no room stays unfinished, and the host discards it.
        let _lost = self.deliver(bytes, received, parsed, delivery);
    }

    /// Puts a frame into a port's queue; `false` when it is too long for the port.
    fn send(&mut self, port: usize, bytes: &[u8]) -> bool {
        let starts = match &self.faults {
            None => self.clock,
            Some(faults) => self.clock.max(faults.busy_until),
        };
        let due = starts.saturating_add(u64::from(self.profile.packet_latency_ns));
        let Some(port) = self.ports.get_mut(port) else {
            return false;
        };
        let fits = port.takes(bytes.len());
        if let Err(dropped) = port.send(self.pool.copy(bytes), due) {
            self.pool.give(dropped);
        }
        fits
    }

    /// Gives a frame to the host as it was received.
    pub(crate) fn miss(
        &mut self,
        received: Received<'_>,
        parsed: &Parsed,
        reason: ReceiveReason,
        entry: u32,
    ) {
        let delivery = Delivery { reason, entry, mark: 0, mirror: MirrorPart::NONE };
        let delivered = self.deliver(received.frame, received, parsed, delivery);
        let counters = self.ports[usize::from(received.port)].count();
        match delivered {
            Ok(()) => counters.missed += 1,
            Err(Undelivered::Overrun | Undelivered::Fault(_)) => counters.rx_overrun += 1,
        }
    }

    /// Puts bytes into the receive ring of the packet's flow.
    fn deliver(
        &mut self,
        bytes: &[u8],
        received: Received<'_>,
        parsed: &Parsed,
        delivery: Delivery,
    ) -> Result<(), Undelivered> {
        let queues = u32::try_from(self.receive.len()).expect("at most 16 queues");
        let queue = hash::queue(&parsed.key, queues) as usize;
        let Some(queue) = self.receive.get_mut(queue) else {
            return Err(Undelivered::Overrun);
        };
        let descriptor = Receive {
            timestamp: received.time,
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            generation: received.generation,
            entry: delivery.entry,
            mark: delivery.mark,
            port: received.port,
            reason: Some(delivery.reason),
            mirror: delivery.mirror,
            sequence: 0,
        };
        let aim = match &mut self.faults {
            None => Ok(0),
            Some(faults) => {
                if faults.strikes(Class::ReceiveOverrun, self.clock).is_some() {
                    return Err(Undelivered::Overrun);
                }
                faults.aim(self.clock)
            }
        };
        let delivered = aim
            .map_err(Undelivered::Fault)
            .and_then(|aim| queue.deliver(&self.memory, bytes, descriptor, aim));
        if let Err(Undelivered::Fault(syndrome)) = delivered {
            self.fault(syndrome);
        }
        delivered
    }

    /// Gives a held packet to the host as a miss.
    pub(crate) fn miss_held(&mut self, arrival: Arrival) {
        let received = Received {
            frame: &arrival.frame,
            port: arrival.port,
            time: arrival.time,
            generation: arrival.generation,
        };
        self.miss(received, &arrival.parsed, ReceiveReason::NoEntry, NO_ENTRY);
        self.pool.give(arrival.frame);
    }

    /// Sends a held packet on its entry's way.
    pub(crate) fn forward_held(&mut self, at: Location, arrival: Arrival) {
        let bytes = self.tables.of(at).image(at.place);
        let image = EntryImage::decode(&bytes).expect("ADD checked the image");
        let received = Received {
            frame: &arrival.frame,
            port: arrival.port,
            time: arrival.time,
            generation: arrival.generation,
        };
        self.forward(at, &image, received, &arrival.parsed);
        self.pool.give(arrival.frame);
    }

    /// Id of the entry at a place that is taken.
    pub(crate) fn entry_id(&self, at: Location) -> u32 {
        word32(self.tables.of(at).entry(at.place), field::ID)
    }
}

/// The outputs with the first moved to the next port.
fn next_port(outputs: u64, ports: usize) -> u64 {
    let next = (outputs.trailing_zeros() as usize + 1) % ports;
    outputs & outputs.wrapping_sub(1) | 1 << next
}

/// The type of service after the edit, 0 when the inner packet is not IP.
fn inner_tos(image: &EntryImage, parsed: &Parsed) -> u8 {
    let mask = image.edit.tos_mask;
    match parsed.key[ETH_TYPE] {
        [0x08, 0x00] | [0x86, 0xdd] => parsed.key[IP_TOS] & !mask | image.set[IP_TOS] & mask,
        _ => 0,
    }
}

/// The tunnel id a packet leaves with: as received, where the byte mask does not write it.
fn tunnel_id(image: &EntryImage, parsed: &Parsed) -> u32 {
    let mut id = [0; 4];
    for (byte, index) in id.iter_mut().zip(TUN_ID) {
        let set = image.edit.byte_mask >> index & 1 == 1;
        *byte = if set { image.set[index] } else { parsed.key[index] };
    }
    u32::from_be_bytes(id)
}

//! Packets that one worker received and another sends: a ring for each pair of workers, and one for
//! the buffers on their way back.

use super::bell::Bell;
use std::sync::Arc;
use twinpath_fallback::ring::{Consumer, Producer, ring};
use twinpath_fallback::{Packet, PacketPool};
use twinpath_flow::port::PortNo;

/// Packets between two workers at most; beyond it they are dropped at their output port.
const RING_MAX: usize = 2048;

/// Packets taken from one other worker in one round.
const ROUND_MAX: usize = 64;

/// Two rings to another worker, two from it.
#[derive(Debug)]
struct Peer {
    index: usize,
    bell: Arc<Bell>,
    to: Producer<Packet>,
    from: Consumer<Packet>,
    empty_to: Producer<Packet>,
    empty_from: Consumer<Packet>,
    /// Buffers that came from there and have not gone back.
    owed: usize,
}

/// A worker's place among the others.
#[derive(Debug)]
pub(super) struct Seat {
    /// The worker that has each port's wire, ascending by port.
    owners: Arc<[(PortNo, usize)]>,
    peers: Vec<Peer>,
    /// Packets given to others.
    pub(super) handed: u64,
    /// Packets that found the ring full.
    pub(super) full: u64,
}

/// Who sends out of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The worker asked.
    Own,
    /// The peer at this position.
    Peer(usize),
}

/// The seats of workers whose bells are `bells`.
pub(super) fn seats(bells: &[Arc<Bell>], owners: &Arc<[(PortNo, usize)]>) -> Vec<Seat> {
    let count = bells.len();
    let seat = |_| Seat { owners: Arc::clone(owners), peers: Vec::new(), handed: 0, full: 0 };
    let mut seats: Vec<Seat> = (0..count).map(seat).collect();
    for low in 0..count {
        for high in low + 1..count {
            let pair = || [ring(RING_MAX), ring(RING_MAX)];
            let [(up, up_end), (down, down_end)] = pair();
            let [(empty_up, empty_up_end), (empty_down, empty_down_end)] = pair();
            seats[low].peers.push(Peer {
                index: high,
                bell: Arc::clone(&bells[high]),
                to: up,
                from: down_end,
                empty_to: empty_up,
                empty_from: empty_down_end,
                owed: 0,
            });
            seats[high].peers.push(Peer {
                index: low,
                bell: Arc::clone(&bells[low]),
                to: down,
                from: up_end,
                empty_to: empty_down,
                empty_from: empty_up_end,
                owed: 0,
            });
        }
    }
    seats
}

impl Seat {
    /// Who sends out of a port; a port nobody has is the asker's to drop.
    pub(super) fn owner(&self, port: PortNo) -> Owner {
        let Ok(at) = self.owners.binary_search_by_key(&port, |(number, _)| *number) else {
            return Owner::Own;
        };
        let worker = self.owners[at].1;
        self.peers.iter().position(|peer| peer.index == worker).map_or(Owner::Own, Owner::Peer)
    }

    /// Hands a packet of `pool` to a peer, which sends it out of the port it carries.
    ///
    /// # Errors
    /// The packet, when too many are under way there.
    pub(super) fn hand(
        &mut self,
        peer: usize,
        packet: Packet,
        pool: &mut PacketPool,
    ) -> Result<(), Packet> {
        match self.peers[peer].to.push(packet) {
            Ok(()) => {
                pool.hand_over(1);
                self.handed += 1;
                Ok(())
            }
            Err(packet) => {
                self.full += 1;
                Err(packet)
            }
        }
    }

    /// Lets the others see what was handed to them, and wakes those that sleep.
    pub(super) fn publish(&mut self) {
        for peer in &mut self.peers {
            if peer.to.publish() {
                peer.bell.ring();
            }
        }
    }

    /// Takes packets that others have handed over, a bounded number, into `pool` and gives them to
    /// `send`; how many they were.
    pub(super) fn take(
        &mut self,
        pool: &mut PacketPool,
        send: &mut dyn FnMut(&mut PacketPool, Packet),
    ) -> usize {
        let mut taken = 0;
        for peer in &mut self.peers {
            let packets = std::iter::from_fn(|| peer.from.pop()).take(ROUND_MAX);
            let mut count = 0;
            for packet in packets {
                pool.take_over(1);
                send(pool, packet);
                count += 1;
            }
            peer.owed = (peer.owed + count).min(RING_MAX);
            taken += count;
        }
        taken
    }

    /// Sends buffers back to where packets came from, and takes those that come back, so that no
    /// pool runs dry while another grows.
    pub(super) fn settle(&mut self, pool: &mut PacketPool) {
        for peer in &mut self.peers {
            while let Some(packet) = peer.empty_from.pop() {
                pool.take_over(1);
                pool.give(packet);
            }
            while peer.owed > 0 {
                let Some(packet) = pool.take() else { break };
                if let Err(packet) = peer.empty_to.push(packet) {
                    pool.give(packet);
                    break;
                }
                pool.hand_over(1);
                peer.owed -= 1;
            }
            peer.empty_to.publish();
        }
    }

    /// Whether others have handed something over.
    pub(super) fn is_waiting(&mut self) -> bool {
        self.peers.iter_mut().any(|peer| !peer.from.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_arrive_in_order_and_their_buffers_come_back() {
        let bells: Vec<_> = (0..3).map(|_| Arc::new(Bell::new().unwrap())).collect();
        let owners: Arc<[_]> = vec![(PortNo(1), 0), (PortNo(2), 1), (PortNo(3), 2)].into();
        let mut seats = seats(&bells, &owners);
        let mut pools = [PacketPool::new(8), PacketPool::new(8), PacketPool::new(8)];
        assert_eq!(seats[0].owner(PortNo(1)), Owner::Own);
        assert_eq!(seats[0].owner(PortNo(9)), Owner::Own);
        let Owner::Peer(peer) = seats[0].owner(PortNo(3)) else { panic!("another worker's") };
        for round in 0..100_u16 {
            for number in 0..8 {
                let mut packet = pools[0].take().expect("all buffers came back");
                assert!(packet.fill(&(round * 8 + number).to_be_bytes()));
                seats[0].hand(peer, packet, &mut pools[0]).expect("room for 8");
            }
            assert!(!seats[2].is_waiting());
            seats[0].publish();
            assert!(seats[2].is_waiting() && !seats[1].is_waiting());
            let mut expected = round * 8;
            let taken = seats[2].take(&mut pools[2], &mut |pool, packet| {
                assert_eq!(packet.frame(), expected.to_be_bytes());
                expected += 1;
                pool.give(packet);
            });
            assert_eq!(taken, 8);
            seats[2].settle(&mut pools[2]);
            seats[0].settle(&mut pools[0]);
            assert_eq!([0, 1, 2].map(|at: usize| pools[at].room()), [8; 3]);
        }
    }

    #[test]
    fn a_packet_that_finds_the_ring_full_comes_back() {
        let bells: Vec<_> = (0..2).map(|_| Arc::new(Bell::new().unwrap())).collect();
        let mut seats = seats(&bells, &vec![(PortNo(2), 1)].into());
        let mut pool = PacketPool::new(RING_MAX + 1);
        let mut hand = || seats[0].hand(0, pool.take().unwrap(), &mut pool).is_ok();
        assert!((0..RING_MAX).all(|_| hand()));
        assert!(!hand());
        assert_eq!((seats[0].handed, seats[0].full), (RING_MAX as u64, 1));
    }
}

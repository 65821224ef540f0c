//! Receive and transmit queues.

use super::Rig;
use crate::nic::{CardQueue, RxSink, SmartNic, TxFrame};
use crate::twin::bring_up::Phase;
use crate::twin::queue::register_of;
use std::sync::atomic::{AtomicBool, Ordering};
use twinpath_abi::bus::Bus;
use twinpath_abi::receive::ReceiveReason;
use twinpath_abi::register::queue;
use twinpath_flow::card::{DeathCause, EntryId, Epoch, Event, Reason, RxMeta};
use twinpath_flow::port::PortNo;

#[derive(Default)]
pub(super) struct Frames(pub Vec<(RxMeta, Vec<u8>)>);

impl RxSink for Frames {
    fn frame(&mut self, meta: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        self.0.push((meta, bytes));
    }
}

fn queues(rig: &mut Rig) -> Vec<Box<dyn CardQueue>> {
    rig.twin.take_queues()
}

#[test]
fn frames_come_in_order_over_many_laps_of_the_ring() {
    let mut rig = Rig::up();
    let mut queues = queues(&mut rig);
    let mut frames = Frames::default();
    for round in 0..20_u8 {
        for number in 0..13 {
            rig.card.deliver(1, &[round, number, 7], |descriptor| {
                descriptor.reason = Some(ReceiveReason::ToHost);
                descriptor.entry = 3;
            });
        }
        frames.0.clear();
        assert_eq!(queues[1].rx_burst(8, &mut frames), Ok(8));
        assert_eq!(queues[1].rx_burst(8, &mut frames), Ok(5));
        assert_eq!(queues[1].rx_burst(8, &mut frames), Ok(0));
        for (number, (meta, bytes)) in (0..).zip(&frames.0) {
            assert_eq!(*bytes, [round, number, 7]);
            assert_eq!((meta.port, meta.reason), (PortNo(9), Reason::ToHost));
            assert_eq!((meta.entry, meta.time), (Some(EntryId(3)), rig.now));
        }
    }
    assert_eq!((queues[0].delivered(), queues[1].delivered()), (0, 260));
}

#[test]
fn frames_go_out_in_order_and_a_full_ring_is_back_pressure() {
    let mut rig = Rig::up();
    let mut queues = queues(&mut rig);
    let payload: Vec<[u8; 60]> = (0..40).map(|number| [number; 60]).collect();
    let frames: Vec<_> = payload.iter().map(|data| TxFrame { port: PortNo(4), data }).collect();
    assert_eq!(queues[0].tx_burst(&frames), 16);
    assert_eq!(queues[0].tx_burst(&frames[16..]), 0);
    rig.run(1);
    assert_eq!(queues[0].tx_burst(&frames[16..]), 16);
    rig.run(1);
    assert_eq!(queues[0].tx_burst(&frames[32..]), 8);
    rig.run(1);
    let sent: Vec<_> = rig.card.sent.iter().map(|(port, bytes)| (*port, bytes[0])).collect();
    assert_eq!(sent, (0..40).map(|number| (0, number)).collect::<Vec<_>>());
}

#[test]
fn a_frame_that_cannot_be_sent_is_dropped_and_counted() {
    let mut rig = Rig::up();
    let mut queues = queues(&mut rig);
    let long = vec![0; 9_000];
    let frames = [
        TxFrame { port: PortNo(5), data: &[0; 60] },
        TxFrame { port: PortNo(4), data: &[0; 13] },
        TxFrame { port: PortNo(4), data: &long },
        TxFrame { port: PortNo(9), data: &[5; 14] },
    ];
    assert_eq!(queues[0].tx_burst(&frames), 4);
    rig.run(1);
    assert_eq!(rig.card.sent, [(1, vec![5; 14])]);
    assert_eq!(rig.twin.dropped_frames(), 3);
}

#[test]
fn a_receive_descriptor_that_no_card_writes_is_garbage_and_kills_the_card() {
    type Change = fn(&mut twinpath_abi::receive::Receive);
    let changes: [Change; 4] = [
        |descriptor| descriptor.sequence = 77,
        |descriptor| descriptor.length = 5_000,
        |descriptor| descriptor.port = 2,
        |descriptor| descriptor.reason = None,
    ];
    for change in changes {
        let mut rig = Rig::up();
        let mut queues = queues(&mut rig);
        rig.card.deliver(0, &[0; 60], change);
        let mut frames = Frames::default();
        assert_eq!(queues[0].rx_burst(8, &mut frames), Err(DeathCause::Garbage));
        rig.run(1);
        let dead = Event::Dead(DeathCause::Garbage);
        assert!(rig.events.contains(&dead));
        assert_eq!(queues[0].rx_burst(8, &mut frames), Ok(0), "inert afterwards");
    }
}

#[test]
fn a_worker_in_the_middle_of_its_bursts_never_reaches_a_card_that_was_reset() {
    for _ in 0..8 {
        let mut rig = Rig::up();
        let mut old = queues(&mut rig).swap_remove(0);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let frame = TxFrame { port: PortNo(4), data: &[7; 60] };
                let mut frames = Frames::default();
                while !stop.load(Ordering::Relaxed) {
                    old.tx_burst(&[frame]);
                    old.rx_burst(4, &mut frames).unwrap();
                }
            });
            rig.run(1);
            rig.twin.reset(rig.now).unwrap();
            // The worker's burst ends in real time, so the card's time stands still meanwhile.
            while matches!(rig.twin.phase, Phase::Quiescing(_)) {
                rig.twin.poll(rig.now, &mut rig.events);
                std::thread::yield_now();
            }
            rig.run(10);
            let sent = rig.card.sent.len();
            let doorbell = register_of(0, &queue::TX_PRODUCER);
            for _ in 0..50 {
                rig.run(1);
                assert_eq!(rig.card.memory.read32(doorbell), 0);
                std::thread::yield_now();
            }
            assert_eq!(rig.card.sent.len(), sent);
            stop.store(true, Ordering::Relaxed);
        });
        assert!(rig.events.contains(&Event::Up(Epoch(2))));
    }
}

/// Resets the card in the middle of a burst.
struct Resetting<'a>(&'a mut Rig);

impl RxSink for Resetting<'_> {
    fn frame(&mut self, _: RxMeta, length: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let rig = &mut self.0;
        rig.twin.reset(rig.now).unwrap();
        rig.run(50);
        assert!(matches!(rig.twin.phase, Phase::Quiescing(_)), "waits for the burst");
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        assert_eq!(bytes, [9; 60], "the ring is still this worker's");
    }
}

#[test]
fn a_reset_waits_for_the_burst_in_progress() {
    let mut rig = Rig::up();
    let mut old = queues(&mut rig).swap_remove(0);
    rig.card.deliver(0, &[9; 60], |_| {});
    assert_eq!(old.rx_burst(1, &mut Resetting(&mut rig)), Ok(1));
    rig.run(10);
    assert!(rig.events.contains(&Event::Up(Epoch(2))));
}

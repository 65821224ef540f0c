//! Bring-up, reset, links, injected packets, and ports' rings.

use crate::model::Device;
use crate::rig::{PORTS, Rig, Sink, bring_up, frame, from, ports, to, trusting};
use std::sync::Arc;
use twinpath_flow::card::{Event, Health, Sweep};
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{SmartNic, TxFrame};
use twinpath_host_driver::rocker::{BringUpError, RockerIo, RockerNic, dma_bytes};

#[test]
fn it_comes_up_with_its_ports_enabled_and_learning_off() {
    let mut rig = Rig::new();
    assert_eq!(rig.nic.health(rig.now), Health::Good);
    assert_eq!(rig.device.state().enabled, 0b1110, "configured ports only");
    assert_eq!(rig.device.state().learning & 0b11110, 0);
    let can = rig.nic.capabilities();
    assert_eq!((can.ports, can.queues, can.hold_frames), (4, 1, 0));
    assert!(!can.counters && !can.generations);
    assert!(rig.nic.take_queues().is_empty(), "queues are handed out once");
}

#[test]
fn links_are_told_when_it_comes_up_and_when_they_change() {
    let device = Arc::new(Device::new(3));
    device.set_link(2, false);
    let mut nic = RockerNic::attach(Arc::clone(&device), ports(), trusting());
    let events = bring_up(&mut nic, Time(0));
    let link = |port, up| Event::Link { port: PortNo(port), up };
    assert_eq!(events[1..], [link(10, true), link(20, false), link(30, true)]);
    let mut rig = Rig::new();
    rig.device.set_link(3, false);
    assert_eq!(rig.poll(), [link(30, false)]);
    rig.device.set_link(3, true);
    assert_eq!(rig.poll(), [link(30, true)]);
    assert_eq!(rig.poll(), []);
}

#[test]
fn more_link_changes_than_descriptors_leave_the_truth() {
    let mut rig = Rig::new();
    for _ in 0..101 {
        rig.device.set_link(1, false);
        rig.device.set_link(1, true);
    }
    rig.device.set_link(1, false);
    assert_eq!(rig.poll(), [Event::Link { port: PortNo(10), up: false }]);
    rig.device.set_link(1, true);
    assert_eq!(rig.poll(), [Event::Link { port: PortNo(10), up: true }]);
}

#[test]
fn it_takes_over_a_device_that_a_dead_driver_left_running() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    let device = Arc::clone(&rig.device);
    let mut second = RockerNic::attach(Arc::clone(&device), ports(), trusting());
    let events = bring_up(&mut second, Time(0));
    assert!(matches!(events[0], Event::Up(_)), "{:?}", second.failure());
    device.inject(1, &frame(2, 1, &[0x9999], &[]));
    assert_eq!(device.sent(), [], "the dead driver's entry is gone");
}

#[test]
fn a_driver_that_ends_leaves_the_switch_silent_and_empty() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    let device = Arc::clone(&rig.device);
    drop(rig);
    assert_eq!(device.state().enabled, 0);
    assert_eq!(device.holds(), (0, 0));
}

#[test]
fn a_dead_device_is_silenced_when_it_answers() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    rig.device.state().master = false;
    rig.add(2, from(20), to(&[30])).unwrap_err();
    assert_eq!(rig.device.state().enabled, 0);
    assert_eq!(rig.device.holds(), (0, 0));
}

#[test]
fn a_reset_empties_the_device_and_makes_old_queues_inert() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    let epoch = rig.nic.reset(rig.now).unwrap();
    assert_eq!(rig.nic.health(rig.now), Health::Starting);
    assert_eq!(rig.nic.submit(rig.now, &[]), 0);
    assert!(rig.poll().contains(&Event::Up(epoch)));
    rig.device.inject(1, &frame(2, 1, &[0x9999], &[]));
    assert_eq!(rig.received(), [], "the old queue neither receives");
    let sent = [TxFrame { port: PortNo(10), data: &[0; 64] }];
    assert_eq!(rig.queue.tx_burst(&sent), 0, "nor sends");
    rig.queue = rig.nic.take_queues().pop().unwrap();
    assert_eq!(rig.received().len(), 1);
    rig.add(1, from(10), to(&[20])).unwrap();
}

#[test]
fn injected_frames_leave_by_their_ports_in_order() {
    let mut rig = Rig::new();
    let frames: Vec<Vec<u8>> = (0..200).map(|n| frame(n, 1, &[0x9999], &[])).collect();
    let ports = |n: usize| PORTS[(n / 50) % 3];
    let burst: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(n, data)| TxFrame { port: PortNo(ports(n)), data })
        .collect();
    assert_eq!(rig.queue.tx_burst(&burst), 200);
    let sent = rig.device.sent();
    assert_eq!(sent.len(), 200);
    for (n, (port, bytes)) in sent.iter().enumerate() {
        assert_eq!((PORTS[*port as usize - 1], bytes), (ports(n), &frames[n]));
    }
}

#[test]
fn frames_that_cannot_be_sent_are_dropped_and_counted() {
    let mut rig = Rig::new();
    let long = vec![0; 2100];
    let to = |port, data| TxFrame { port: PortNo(port), data };
    let burst = [to(10, &long[..13]), to(11, &long[..64]), to(10, &long), to(10, &long[..2008])];
    assert_eq!(rig.queue.tx_burst(&burst), 4);
    assert_eq!(rig.device.sent().len(), 1);
    assert_eq!(rig.nic.dropped_frames(), 3);
}

#[test]
fn receive_descriptors_are_posted_again_for_ever() {
    let mut rig = Rig::new();
    for round in 0..50_u8 {
        for n in 0..15 {
            rig.device.inject(1, &frame(round, n, &[0x9999], &[]));
        }
        assert_eq!(rig.received().len(), 15, "round {round}");
    }
    assert_eq!(rig.queue.delivered(), 750);
    assert_eq!(rig.device.state().overruns, 0);
}

#[test]
fn a_flooded_port_leaves_room_for_the_others_in_a_burst() {
    let mut rig = Rig::new();
    for n in 0..15 {
        rig.device.inject(1, &frame(2, n, &[0x9999], &[]));
    }
    rig.device.inject(2, &frame(2, 1, &[0x9999], &[]));
    let mut sink = Sink(Vec::new());
    assert_eq!(rig.queue.rx_burst(6, &mut sink), Ok(3));
    assert!(sink.0.iter().any(|(meta, _)| meta.port == PortNo(20)));
    assert!(sink.0.iter().all(|(meta, _)| meta.time == rig.now));
}

#[test]
fn an_interrupt_comes_again_after_each_burst() {
    let mut rig = Rig::new();
    let vector = 5;
    rig.device.poll_interrupt(vector);
    for round in 0..3 {
        rig.device.inject(1, &frame(2, 1, &[0x9999], &[]));
        rig.device.inject(1, &frame(2, 1, &[0x9999], &[]));
        assert_eq!(rig.device.poll_interrupt(vector), 1, "round {round}");
        assert_eq!(rig.received().len(), 2);
        assert_eq!(rig.device.poll_interrupt(vector), 0);
    }
}

#[test]
fn counters_stay_unknown() {
    struct Nothing;
    impl twinpath_flow::card::CounterSink for Nothing {
        fn begin(&mut self, _: Time, sweep: &Sweep) {
            panic!("{sweep:?}");
        }

        fn entry(&mut self, counts: &twinpath_flow::card::EntryCounts) {
            panic!("{counts:?}");
        }
    }
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    let sweep: Option<Sweep> = rig.nic.sweep_counters(rig.now, &mut Nothing);
    assert_eq!(sweep, None);
    assert_eq!(rig.delete(1).unwrap().counts, None);
}

#[test]
fn more_configured_ports_than_it_has_are_refused() {
    let mut nic = RockerNic::attach(Arc::new(Device::new(2)), ports(), trusting());
    bring_up(&mut nic, Time(0));
    let failure = nic.failure().unwrap();
    assert!(matches!(failure, BringUpError::Ports(_)), "{failure}");
    assert_eq!(failure.to_string(), "3 physical ports are configured, the card has 2");
}

#[test]
fn memory_for_the_largest_switch_is_told_in_advance() {
    let ports = (1..=62).map(crate::rig::physical).collect();
    let ports = twinpath_flow::port::PortTable::new(ports).unwrap();
    assert!(dma_bytes(&trusting(), &ports) < 4 << 20);
    let device = Arc::new(Device::new(62));
    let mut nic = RockerNic::attach(Arc::clone(&device), ports, trusting());
    assert!(matches!(bring_up(&mut nic, Time(0))[0], Event::Up(_)));
    assert_eq!(device.crash(), None);
}

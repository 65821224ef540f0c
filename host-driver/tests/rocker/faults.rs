//! A device that fails, lies, or leaves.

use crate::model::Device;
use crate::rig::{Rig, Sink, bring_up, frame, from, ports, set, to, trusting};
use std::sync::Arc;
use std::time::Duration;
use twinpath_flow::card::{DeathCause, Event, Health, Refusal};
use twinpath_flow::field::Field;
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;
use twinpath_host_driver::nic::{SmartNic, TxFrame};
use twinpath_host_driver::rocker::{BringUpError, RockerNic, Settings};

#[test]
fn an_absent_function_is_dead_at_once() {
    let device = Arc::new(Device::new(3));
    device.state().gone = true;
    let mut nic = RockerNic::attach(device, ports(), trusting());
    assert_eq!(bring_up(&mut nic, Time(0)), [Event::Dead(DeathCause::AllOnes)]);
    assert_eq!(nic.health(Time(0)), Health::Dead(DeathCause::AllOnes));
}

#[test]
fn a_function_that_leaves_is_noticed_at_the_next_look() {
    let mut rig = Rig::new();
    rig.device.state().gone = true;
    assert_eq!(rig.poll(), [Event::Dead(DeathCause::AllOnes)]);
    assert_eq!(rig.nic.submit(rig.now, &[]), 0);
    assert_eq!(rig.received(), [], "its queue is inert");
    rig.device.state().gone = false;
    let epoch = rig.nic.reset(rig.now).unwrap();
    assert!(rig.poll().contains(&Event::Up(epoch)), "it came back");
}

#[test]
fn a_function_that_leaves_under_a_command_is_noticed_there() {
    let mut rig = Rig::new();
    rig.device.state().gone = true;
    assert_eq!(rig.add(1, from(10), to(&[20])), Err(Refusal::Reset));
    assert_eq!(rig.nic.health(rig.now), Health::Dead(DeathCause::AllOnes));
}

#[test]
fn a_device_without_dma_is_dead_at_the_next_command() {
    let mut rig = Rig::new();
    rig.device.state().master = false;
    assert_eq!(rig.add(1, from(10), to(&[20])), Err(Refusal::Reset));
    assert_eq!(rig.nic.health(rig.now), Health::Dead(DeathCause::Deadline));
}

#[test]
fn a_device_without_dma_is_dead_at_the_next_frame_sent() {
    let mut rig = Rig::new();
    rig.device.state().master = false;
    rig.queue.tx_burst(&[TxFrame { port: PortNo(10), data: &[0; 64] }]);
    assert_eq!(rig.poll(), [Event::Dead(DeathCause::Garbage)]);
}

#[test]
fn a_device_that_was_reset_behind_our_back_asks_for_a_reset() {
    let mut rig = Rig::new();
    rig.device.forget_everything();
    let events = rig.poll();
    assert!(events.contains(&Event::ResetRequest), "{events:?}");
    assert!(!rig.poll().contains(&Event::ResetRequest), "once");
    let epoch = rig.nic.reset(rig.now).unwrap();
    assert!(rig.poll().contains(&Event::Up(epoch)));
}

#[test]
fn a_refused_flow_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let edit = || set(to(&[20, 30]), Field::EthSrc, 7);
    let standing = rig.device.holds();
    let before = rig.device.state().commands;
    rig.add(1, from(10), edit()).unwrap();
    let commands = rig.device.state().commands - before;
    rig.delete(1).unwrap();
    for failing in 0..commands {
        let script = (0..=failing).map(|n| if n == failing { 12 } else { 0 });
        rig.device.state().script = script.collect();
        assert_eq!(rig.add(1, from(10), edit()), Err(Refusal::TableFull), "command {failing}");
        let left = rig.device.holds();
        assert_eq!(left, standing, "command {failing}");
    }
    rig.device.state().script = [17].into();
    assert_eq!(rig.add(1, from(10), edit()), Err(Refusal::Card(17)));
    rig.add(1, from(10), edit()).unwrap();
}

#[test]
fn a_device_that_does_not_know_what_it_holds_is_not_trusted() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    rig.device.state().flows.clear();
    assert_eq!(rig.delete(1), Err(Refusal::Reset));
    assert_eq!(rig.nic.health(rig.now), Health::Dead(DeathCause::Garbage));
}

#[test]
fn a_vector_that_never_comes_is_named() {
    let device = Arc::new(Device::new(3));
    device.state().deaf = 1 << 6;
    let mut nic = RockerNic::attach(Arc::clone(&device), ports(), trusting());
    assert_eq!(bring_up(&mut nic, Time(0)), []);
    assert_eq!(nic.health(Time(0)), Health::Starting);
    let late = Time(0).after(Settings::default().deadline + Duration::from_millis(1));
    assert_eq!(bring_up(&mut nic, late), [Event::Dead(DeathCause::Deadline)]);
    assert_eq!(nic.failure().unwrap().to_string(), "interrupt vector 6 did not arrive");
}

#[test]
fn too_few_vectors_and_wrong_port_counts_are_named() {
    for (ports_of_card, vectors, wanted) in [
        (3, 9, "9 interrupt vectors are armed, the card has 10"),
        (0, 128, "card has 0 ports, credible are 1 to 62"),
        (63, 128, "card has 63 ports, credible are 1 to 62"),
    ] {
        let device = Arc::new(Device::new(3));
        device.state().ports = ports_of_card;
        device.state().vectors = vectors;
        let mut nic = RockerNic::attach(device, ports(), trusting());
        bring_up(&mut nic, Time(0));
        assert_eq!(nic.failure().map(BringUpError::to_string).unwrap(), wanted);
    }
}

#[test]
fn a_frame_longer_than_any_port_allows_is_lost_and_counted() {
    let mut rig = Rig::new();
    let mut long = frame(2, 1, &[0x9999], &[]);
    long.resize(2049, 0);
    rig.device.inject(1, &long);
    rig.device.inject(1, &frame(2, 1, &[0x9999], &[]));
    assert_eq!(rig.received().len(), 1);
    assert_eq!(rig.nic.frames_too_long(), 1);
}

#[test]
fn garbage_in_a_receive_ring_ends_the_epoch() {
    let mut rig = Rig::new();
    rig.device.state().corrupt_receive = true;
    rig.device.inject(1, &frame(2, 1, &[0x9999], &[]));
    let mut sink = Sink(Vec::new());
    assert_eq!(rig.queue.rx_burst(8, &mut sink), Err(DeathCause::Garbage));
    assert_eq!(rig.poll(), [Event::Dead(DeathCause::Garbage)]);
}

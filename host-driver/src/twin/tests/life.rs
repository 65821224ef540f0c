//! Bring-up, reset and death: always bounded, always reported, never a panic.

use super::{Rig, entry, mask};
use crate::nic::SmartNic;
use crate::twin::{BringUpError, Settings, Twin};
use std::sync::Arc;
use twinpath_abi::register;
use twinpath_flow::card::{DeathCause, Epoch, Event, Health, Refusal};
use twinpath_flow::port::PortNo;
use twinpath_flow::time::Time;

fn death(rig: &Rig) -> Option<DeathCause> {
    rig.events.iter().find_map(|event| match event {
        Event::Dead(cause) => Some(*cause),
        _ => None,
    })
}

#[test]
fn bring_up_reports_the_epoch_the_links_and_the_capabilities() {
    let mut rig = Rig::cold();
    assert_eq!(rig.twin.health(rig.now), Health::Starting);
    assert!(rig.twin.capabilities().tables.is_empty());
    rig.run(10);
    let down = |port| Event::Link { port: PortNo(port), up: false };
    assert_eq!(rig.events, [Event::Up(Epoch(1)), down(4), down(9)]);
    assert_eq!(rig.twin.health(rig.now), Health::Good);
    let capabilities = rig.twin.capabilities();
    let tables: Vec<_> = capabilities.tables.iter().map(|table| table.capacity).collect();
    assert_eq!(tables, [260, 64, 8]);
    assert_eq!((capabilities.ports, capabilities.queues, capabilities.hold_frames), (2, 2, 64));
    assert_eq!(rig.twin.take_queues().len(), 2);
    assert_eq!(rig.twin.take_queues().len(), 0);
}

#[test]
fn a_card_that_is_no_twin_is_left_alone() {
    let mut rig = Rig::cold();
    rig.card.set(&register::IDENTITY, 0x1234_5678);
    rig.run(5);
    assert_eq!(death(&rig), Some(DeathCause::Garbage));
    assert_eq!(rig.twin.failure(), Some(&BringUpError::Identity(0x1234_5678)));
    let memory = &rig.card.memory;
    let asked = twinpath_abi::bus::Bus::read32(&**memory, register::RESET_REQUEST.offset);
    assert_eq!(asked, 0, "nothing was written");
}

#[test]
fn a_card_of_another_major_version_is_refused() {
    let mut rig = Rig::cold();
    rig.card.set(&register::VERSION, 0x0002_0000);
    rig.run(5);
    assert!(matches!(rig.twin.failure(), Some(BringUpError::Version { card: 0x0002_0000, .. })));
}

#[test]
fn an_incredible_capability_block_is_refused() {
    let mut rig = Rig::cold();
    rig.card.capability.ports = 1;
    rig.card.write_capability();
    rig.run(5);
    assert!(matches!(rig.twin.failure(), Some(BringUpError::Capability(_))));
}

#[test]
fn too_little_dma_memory_is_an_error_with_the_sizes() {
    let mut rig = Rig::cold();
    rig.card.memory =
        Arc::new(twinpath_abi::memory::SharedMemory::new(register::BAR_BYTES, 4096, 1));
    let memory = Arc::clone(&rig.card.memory);
    rig.card.set(&register::IDENTITY, register::IDENTITY_VALUE);
    rig.card.set(&register::VERSION, twinpath_abi::ABI_VERSION);
    rig.card.write_capability();
    rig.twin = Twin::attach(memory, super::ports(), Settings::default(), rig.now);
    rig.run(5);
    assert!(matches!(rig.twin.failure(), Some(BringUpError::Memory(_))));
}

#[test]
fn a_card_that_does_not_start_is_dead_after_the_deadline() {
    let mut rig = Rig::cold();
    rig.card.frozen = true;
    rig.run(1_999);
    assert_eq!(death(&rig), None);
    rig.run(5);
    assert_eq!(death(&rig), Some(DeathCause::Deadline));
}

#[test]
fn a_stopped_heart_is_found_within_ten_milliseconds() {
    let mut rig = Rig::up();
    rig.card.frozen = true;
    rig.run(10);
    assert_eq!(death(&rig), Some(DeathCause::Heartbeat));
    assert_eq!(rig.twin.health(rig.now), Health::Dead(DeathCause::Heartbeat));
    assert_eq!(rig.events.iter().filter(|event| matches!(event, Event::Dead(_))).count(), 1);
}

#[test]
fn a_host_that_slept_does_not_declare_the_card_dead() {
    let mut rig = Rig::up();
    let tag = rig.add(entry(2, 1, 1), false);
    // The host polls before the card had time to work.
    rig.now = Time(rig.now.0 + 3_600_000_000_000);
    rig.twin.poll(rig.now, &mut rig.events);
    rig.run(1);
    assert!(rig.result(tag).unwrap().is_ok());
    assert_eq!(death(&rig), None);
}

#[test]
fn an_unanswered_command_kills_the_card_and_ends_in_reset() {
    let mut rig = Rig::up();
    rig.card.deaf = true;
    let tag = rig.add(entry(2, 1, 1), false);
    rig.run(1_020);
    assert_eq!(death(&rig), Some(DeathCause::Deadline));
    assert_eq!(rig.result(tag), Some(Err(Refusal::Reset)));
    assert_eq!(rig.twin.submit(rig.now, &[]), 0);
}

#[test]
fn an_unplugged_card_reads_all_ones() {
    let mut rig = Rig::up();
    rig.card.unplug();
    rig.run(1);
    assert_eq!(death(&rig), Some(DeathCause::AllOnes));
    assert!(rig.twin.take_queues().is_empty());
}

#[test]
fn reset_ends_what_is_outstanding_and_comes_up_empty_with_fresh_queues() {
    let mut rig = Rig::up();
    let mut old = rig.twin.take_queues();
    rig.set_mask(0, mask()).unwrap();
    let kept = rig.add(entry(0, 1, 1), false);
    rig.run(1);
    assert!(rig.result(kept).unwrap().is_ok());
    rig.card.deaf = true;
    let cut = rig.add(entry(0, 2, 2), false);
    assert_eq!(rig.twin.reset(rig.now), Ok(Epoch(2)));
    rig.card.deaf = false;
    rig.run(10);
    assert_eq!(rig.result(cut), Some(Err(Refusal::Reset)));
    assert!(rig.events.contains(&Event::Up(Epoch(2))));
    assert_eq!(rig.twin.take_queues().len(), 2);
    let frame = [crate::nic::TxFrame { port: PortNo(4), data: &[0; 60] }];
    assert_eq!(old[0].tx_burst(&frame), 0, "queues of an earlier epoch are inert");
    // The identity is free again, the mask forgotten.
    let refused = rig.add(entry(0, 1, 1), false);
    rig.run(1);
    assert_eq!(rig.result(refused), Some(Err(Refusal::Unsupported)));
    rig.set_mask(0, mask()).unwrap();
    let again = rig.add(entry(0, 1, 1), false);
    rig.run(1);
    assert!(rig.result(again).unwrap().is_ok());
}

#[test]
fn a_dead_card_comes_back_with_a_reset() {
    let mut rig = Rig::up();
    rig.card.frozen = true;
    rig.run(20);
    assert_eq!(death(&rig), Some(DeathCause::Heartbeat));
    rig.card.frozen = false;
    rig.twin.reset(rig.now).unwrap();
    rig.run(10);
    assert!(rig.events.contains(&Event::Up(Epoch(2))));
    assert_eq!(rig.twin.health(rig.now), Health::Good);
}

#[test]
fn a_card_that_reset_itself_asks_for_a_reset_once() {
    let mut rig = Rig::up();
    rig.card.set(&register::EPOCH, 77);
    rig.run(3);
    assert_eq!(rig.events, [Event::ResetRequest]);
}

#[test]
fn a_card_with_the_smallest_rings_works() {
    let mut rig = Rig::cold();
    rig.card.capability.ring_log2_max = [4; 4];
    rig.card.write_capability();
    rig.run(10);
    assert!(rig.events.contains(&Event::Up(Epoch(1))));
    for id in 0..8 {
        let add = rig.add(entry(2, id, id), false);
        rig.run(1);
        assert!(rig.result(add).unwrap().is_ok());
    }
}

#[test]
fn the_driver_and_its_queues_can_go_to_other_threads() {
    fn moves<T: Send>(_: &T) {}
    let mut rig = Rig::up();
    moves(&rig.twin);
    moves(&rig.twin.take_queues());
}

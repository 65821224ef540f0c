//! The driver over a card that fails in every way it can: each operation still ends exactly once,
//! every wait ends, and a card that is mended works again.

use crate::rig::{InProcess, Rig as _};
use crate::world::{Counted, World, entry, profile, udp};
use std::collections::HashSet;
use twinpath_abi::bus::Bus as _;
use twinpath_abi::register::{CONTROL, EPOCH, control};
use twinpath_flow::card::{DeathCause, EntryId, Event, FlowOp, Found, Health, OpTag, TableId};
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::port::PortNo;
use twinpath_host_driver::nic::{RxSink, SmartNic as _, TxFrame};
use twinpath_hw_sim::fault::{Class, Incident, Plan};

const MS: u64 = 1_000_000;

/// Takes frames and forgets them.
struct Sink;

impl RxSink for Sink {
    fn frame(
        &mut self,
        _: twinpath_flow::card::RxMeta,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]),
    ) {
        fill(&mut vec![0; length]);
    }
}

/// A host that resets its card whenever that fails or asks for it.
struct Keeper {
    world: World<InProcess>,
    outstanding: HashSet<OpTag>,
    ended: usize,
    deaths: Vec<DeathCause>,
    requests: usize,
    random: u64,
    next: u32,
}

impl Keeper {
    fn new() -> Self {
        let world = World::<InProcess>::new(profile(16, 2));
        let (outstanding, deaths) = (HashSet::new(), Vec::new());
        Self { world, outstanding, ended: 0, deaths, requests: 0, random: 7, next: 1 }
    }

    fn draw(&mut self, bound: u32) -> u32 {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        u32::try_from(self.random >> 33).unwrap() % bound
    }

    /// Some time passes: operations, frames both ways, sweeps; and what the driver reports.
    fn live(&mut self, steps: u32) {
        for step in 0..steps {
            let target = 1 + self.draw(8);
            self.world.rig.port_in(0, &udp(target, step), self.world.now.0);
            self.submit();
            self.world.run(1);
            for queue in &mut self.world.queues {
                _ = queue.rx_burst(8, &mut Sink);
                let frame = udp(3, step);
                queue.tx_burst(&[TxFrame { port: PortNo(30), data: &frame }]);
            }
            for port in 0..4 {
                while self.world.rig.port_out(port).is_some() {}
            }
            if step % 64 == 0 {
                self.world.twin.sweep_counters(self.world.now, &mut Counted::default());
            }
            self.hear();
        }
    }

    fn submit(&mut self) {
        let tag = self.world.tag();
        let id = EntryId(self.next.saturating_sub(1 + self.draw(8)));
        let op = match self.draw(8) {
            0..4 => {
                self.next += 1;
                let entry = entry(self.next, 1 + self.next % 64);
                FlowOp::Add { tag, entry: Box::new(entry), hold: self.next.is_multiple_of(3) }
            }
            4..6 => FlowOp::Delete { tag, id, until: None },
            6 => FlowOp::Release { tag, id },
            _ => FlowOp::Inspect { tag },
        };
        if self.world.twin.submit(self.world.now, &[op]) == 1 {
            assert!(self.outstanding.insert(tag));
        }
    }

    fn hear(&mut self) {
        let mut reset = false;
        for event in std::mem::take(&mut self.world.events) {
            match event {
                Event::Done { tag, .. } => {
                    assert!(self.outstanding.remove(&tag), "{tag:?} ended twice or never began");
                    self.ended += 1;
                }
                Event::Dead(cause) => {
                    self.deaths.push(cause);
                    reset = true;
                }
                Event::ResetRequest => {
                    self.requests += 1;
                    reset = true;
                }
                Event::Up(_) => self.adopt(),
                _ => {}
            }
        }
        if reset {
            self.world.twin.reset(self.world.now).unwrap();
            self.world.queues.clear();
        }
    }

    fn adopt(&mut self) {
        self.world.queues = self.world.twin.take_queues();
        let tag = self.world.tag();
        let mask = Key::ZERO.with(Field::IpDst, 0xffff_ffff).head;
        let op = FlowOp::SetMask { tag, table: TableId(0), mask: Box::new(mask) };
        if self.world.twin.submit(self.world.now, &[op]) == 1 {
            self.outstanding.insert(tag);
        }
    }

    /// Waits until the card is up and nothing is outstanding, then tries it out.
    fn prove(&mut self) {
        self.world.rig.card().clear_faults();
        self.world.twin.reset(self.world.now).unwrap();
        self.world.queues.clear();
        for _ in 0..400_000 {
            self.world.run(1);
            self.hear();
            if self.outstanding.is_empty() && self.world.twin.health(self.world.now) == Health::Good
            {
                break;
            }
        }
        assert_eq!(self.outstanding.len(), 0);
        self.next += 1;
        let id = self.next;
        self.world.add(entry(id, 7)).unwrap();
        self.world.send(0, &udp(7, 2));
        assert_eq!(self.world.out(1), [udp(7, 2)]);
    }
}

/// Lives with one class at a rate and says how often the card died and asked for a reset.
fn survive(class: Class, one_in: u32) -> (Vec<DeathCause>, usize) {
    let mut keeper = Keeper::new();
    keeper.world.rig.card().set_faults(Plan::new(3).with(class, one_in));
    keeper.live(20_000);
    let fired = keeper.world.rig.card().fired().of(class);
    assert!(fired > 0, "{class} never fired");
    keeper.prove();
    assert!(keeper.ended > 100, "{class}: {} operations ended", keeper.ended);
    (keeper.deaths, keeper.requests)
}

#[test]
fn every_class_of_fault_is_survived() {
    for class in Class::all() {
        let one_in = match class {
            Class::TableFull => 1,
            Class::ResetIgnored | Class::EntryStale | Class::CapabilitiesChanged => continue,
            Class::HoldOverflow => 1,
            _ if class.lasts() => 50,
            _ => 100,
        };
        survive(class, one_in);
    }
}

#[test]
fn all_classes_at_once_are_survived() {
    let mut keeper = Keeper::new();
    keeper.world.rig.card().set_faults(Plan::all(11, 300));
    keeper.live(100_000);
    assert!(keeper.deaths.len() + keeper.requests > 10);
    keeper.prove();
}

/// Lets a fault befall a card with an entry once, and counts the time until the driver says so.
fn noticed(class: Class, lasts: Option<u64>) -> (Event, u64) {
    let mut world = World::<InProcess>::new(profile(16, 2));
    world.add(entry(1, 7)).unwrap();
    let at = world.now.0;
    world.rig.card().inject(Incident { class, at, lasts, amount: None }).unwrap();
    for step in 0..400_000_u32 {
        world.rig.port_in(0, &udp(8, step), world.now.0);
        world.run(1);
        for queue in &mut world.queues {
            _ = queue.rx_burst(8, &mut Sink);
        }
        let serious = |event: &&Event| matches!(event, Event::Dead(_) | Event::ResetRequest);
        if let Some(event) = world.events.iter().find(serious) {
            return (event.clone(), world.now.0 - at);
        }
    }
    panic!("{class} was not noticed: {:?}", world.events);
}

#[test]
fn faults_of_the_whole_card_are_noticed_within_ten_milliseconds() {
    for (class, wanted) in [
        (Class::Removed, Event::Dead(DeathCause::AllOnes)),
        (Class::HeartbeatStopped, Event::Dead(DeathCause::Heartbeat)),
        (Class::ResetWanted, Event::ResetRequest),
        (Class::EngineDead, Event::ResetRequest),
        (Class::DmaUnmapped, Event::ResetRequest),
    ] {
        let (event, after) = noticed(class, Some(1_000 * MS));
        assert_eq!(event, wanted, "{class}");
        assert!(after <= 10 * MS, "{class}: after {after} ns");
    }
}

#[test]
fn a_frame_written_to_a_wrong_slot_does_not_stop_its_queue_for_good() {
    let (event, after) = noticed(Class::DmaWrong, None);
    assert_eq!(event, Event::Dead(DeathCause::Garbage));
    assert!(after <= 200 * MS, "after {after} ns");
}

#[test]
fn a_lost_completion_is_missed_soon_after_a_later_one() {
    let mut world = World::<InProcess>::new(profile(16, 2));
    let at = world.now.0;
    let class = Class::CompletionLost;
    world.rig.card().inject(Incident { class, at, lasts: None, amount: None }).unwrap();
    let tag = world.tag();
    let lost = world.submit(FlowOp::Add { tag, entry: Box::new(entry(1, 7)), hold: false });
    world.run(100);
    world.add(entry(2, 8)).unwrap();
    let began = world.now.0;
    while !world.events.contains(&Event::Dead(DeathCause::Deadline)) {
        world.run(1);
        assert!(world.now.0 - began < 200 * MS);
    }
    assert!(world.result(lost).is_some());
}

#[test]
fn entries_that_survive_a_reset_never_forward() {
    let mut world = World::<InProcess>::new(profile(16, 2));
    world.add(entry(1, 7)).unwrap();
    let at = world.now.0;
    let class = Class::EntryStale;
    world.rig.card().inject(Incident { class, at, lasts: None, amount: None }).unwrap();
    world.twin.reset(world.now).unwrap();
    world.queues.clear();
    for step in 0..10_000 {
        let epoch = world.rig.bus().read32(EPOCH.offset);
        world.rig.port_in(0, &udp(7, step), world.now.0);
        world.run(1);
        assert!(epoch == 1 || world.out(1).is_empty(), "the old entry forwards");
        if world.events.iter().any(|event| matches!(event, Event::Dead(_))) {
            world.events.clear();
            world.twin.reset(world.now).unwrap();
        }
        if world.events.iter().any(|event| matches!(event, Event::Up(_))) {
            break;
        }
    }
    assert_eq!(world.twin.health(world.now), Health::Good);
    world.run(10);
    world.send(0, &udp(7, 1));
    assert!(world.out(1).is_empty());
    assert_eq!(world.rig.card().fired().of(class), 1);
}

#[test]
fn a_card_whose_capabilities_change_again_and_again_comes_up_each_time() {
    let mut world = World::<InProcess>::new(profile(16, 2));
    let plan = Plan::new(1).with(Class::CapabilitiesChanged, 1);
    world.rig.card().set_faults(plan);
    for _ in 0..8 {
        let before = world.twin.capabilities().clone();
        world.twin.reset(world.now).unwrap();
        world.come_up();
        assert_ne!(world.twin.capabilities(), &before);
        world.add(entry(1, 7)).unwrap();
        world.send(0, &udp(7, 2));
        assert_eq!(world.out(1), [udp(7, 2)]);
    }
}

#[test]
fn a_reset_that_is_ignored_is_given_up_in_the_time_the_card_names() {
    let mut world = World::<InProcess>::new(profile(16, 2));
    let at = world.now.0;
    let class = Class::ResetIgnored;
    world.rig.card().inject(Incident { class, at, lasts: None, amount: None }).unwrap();
    world.twin.reset(world.now).unwrap();
    while !world.events.contains(&Event::Dead(DeathCause::Deadline)) {
        world.run(1);
        assert!(world.now.0 - at < 250 * MS, "the card said 100 ms");
    }
    world.events.clear();
    world.twin.reset(world.now).unwrap();
    world.come_up();
    assert_ne!(world.rig.bus().read32(CONTROL.offset) & control::TABLES, 0);
}

#[test]
fn a_broken_entry_is_found_when_its_place_is_read_back() {
    let mut world = World::<InProcess>::new(profile(16, 2));
    world.add(entry(1, 7)).unwrap();
    let at = world.now.0;
    let class = Class::EntryEcc;
    world.rig.card().inject(Incident { class, at, lasts: None, amount: None }).unwrap();
    world.run(1);
    let found = (0..200).any(|_| {
        let tag = world.tag();
        let inspected = world.operate(FlowOp::Inspect { tag }).unwrap().inspected.unwrap();
        inspected.found == Found::Differs(EntryId(1))
    });
    assert!(found);
    world.delete(1).unwrap();
    world.add(entry(2, 7)).unwrap();
    world.send(0, &udp(7, 2));
    assert_eq!(world.out(1), [udp(7, 2)]);
}

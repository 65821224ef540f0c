//! Rules end 0 to 1 s after their timeout, on fresh counters; idle flows leave.

use crate::model::card::Faults;
use crate::model::shape::Shape;
use crate::model::world::World;
use std::time::Duration;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::rule::RuleId;
use twinpath_flow::time::Time;
use twinpath_offload::{Place, Settings, WhyNot};

pub(crate) const SHAPE: Shape = Shape {
    banks: 2,
    bank_capacity: 64,
    ternary_capacity: 8,
    generations: true,
    hold: true,
    counters: true,
};

pub(crate) fn key(port: u16, ip: u128) -> Key {
    Key::ZERO.with(Field::InPort, port.into()).with(Field::IpDst, ip)
}

/// Lets time pass in steps of 10 ms, the card and software working along.
pub(crate) fn run(world: &mut World, duration: Duration) {
    let end = world.now.after(duration);
    while world.now < end {
        world.pass(Duration::from_millis(10));
        world.work(64);
        world.send_fence();
        world.check_step();
    }
}

/// When the rule ended, if it did before `until`, with a packet of port 1 every 100 ms up to
/// `last_packet`.
fn end_of(world: &mut World, last_packet: Time, until: Time) -> Option<Time> {
    while world.now < until {
        if world.now <= last_packet {
            world.packet(&key(1, 1));
        }
        run(world, Duration::from_millis(100));
        if world.expired.contains(&RuleId(1)) {
            return Some(world.now);
        }
    }
    None
}

#[test]
fn a_rule_used_only_in_the_card_stays_and_ends_after_its_last_packet() {
    for seed in 1..20 {
        let mut world = World::with_timeouts(seed, SHAPE, Settings::default(), (2, 0));
        world.card_up(Faults::default());
        let last = Time::from_secs(7);
        let end = end_of(&mut world, last, Time::from_secs(20)).expect("it is idle at the end");
        let idle = end.since(last);
        assert!((2000..=3000).contains(&idle.as_millis()), "{idle:?} after the last packet");
    }
}

#[test]
fn packets_around_an_install_may_be_overtaken_in_a_card_that_cannot_hold() {
    let told = |hold| {
        let mut world = World::new(1, Shape { hold, ..SHAPE }, Settings::default());
        world.card_up(Faults::default());
        world.packet(&key(1, 1));
        world.packet(&key(1, 1));
        run(&mut world, Duration::from_secs(1));
        let around = world.engine.overtaken_max();
        (0..50).for_each(|_| world.packet(&key(1, 1)));
        run(&mut world, Duration::from_secs(1));
        (around, world.engine.overtaken_max())
    };
    assert_eq!(told(true), (None, None));
    assert_eq!(told(false), (Some(2), Some(2)), "not those that the card decides later");
}

#[test]
fn a_hard_timeout_ends_a_busy_rule_once() {
    let mut world = World::with_timeouts(1, SHAPE, Settings::default(), (0, 3));
    world.card_up(Faults::default());
    let end = end_of(&mut world, Time::from_secs(9), Time::from_secs(9)).expect("it ends");
    assert!((3000..=4000).contains(&end.since(Time(0)).as_millis()), "{end:?}");
    run(&mut world, Duration::from_secs(3));
    assert_eq!(world.expired.len(), 3, "each of the three rules once");
}

#[test]
fn without_a_card_timeouts_work_on_software_counts() {
    let mut world = World::with_timeouts(1, SHAPE, Settings::default(), (1, 0));
    let last = Time::from_secs(2);
    let end = end_of(&mut world, last, Time::from_secs(9)).expect("it ends");
    assert!((1000..=2000).contains(&end.since(last).as_millis()), "{end:?}");
}

#[test]
fn an_idle_flow_leaves_card_and_software_and_its_counts_stay() {
    let mut world = World::new(3, SHAPE, Settings::default());
    world.card_up(Faults::default());
    for _ in 0..40 {
        world.packet(&key(1, 1));
        run(&mut world, Duration::from_millis(500));
    }
    assert!(world.removed.is_empty(), "the flow is in use in the card");
    run(&mut world, Duration::from_secs(9));
    assert!(world.removed.is_empty(), "not idle for 10 s yet");
    run(&mut world, Duration::from_secs(3));
    assert!(!world.removed.is_empty());
    world.quiesce();
    world.check_quiet();
    assert_eq!(world.engine.flows().count(), 0);
    assert_eq!(world.engine.totals().entries, 0);
    let rule = world.engine.rule(RuleId(1)).expect("in place");
    assert_eq!(rule.counts.total().expect("known").packets, 40);
}

#[test]
fn flows_under_an_idle_timeout_stay_away_from_a_card_that_does_not_count() {
    let shape = Shape { counters: false, ..SHAPE };
    let mut world = World::with_timeouts(1, shape, Settings::default(), (5, 0));
    world.card_up(Faults::default());
    world.packet(&key(1, 1));
    run(&mut world, Duration::from_secs(1));
    let flow = world.engine.flows().next().expect("one was made");
    assert_eq!((flow.place, flow.why_not), (Place::Software, Some(WhyNot::NeedsCounters)));
}

#[test]
fn what_a_card_without_counters_forwards_is_unknown_not_zero() {
    let shape = Shape { counters: false, hold: false, ..SHAPE };
    let mut world = World::new(1, shape, Settings::default());
    world.card_up(Faults::default());
    for _ in 0..20 {
        world.packet(&key(1, 1));
        run(&mut world, Duration::from_millis(50));
    }
    let rule = world.engine.rule(RuleId(1)).expect("in place");
    assert_eq!((rule.counts.card, rule.counts.total()), (None, None));
}

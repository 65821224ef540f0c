//! In real time a change of rules is worked off in parts, between bursts, and each packet meets old
//! or new rules, never new ones and then old ones.

use super::*;
use twinpath_flow::port::Port;
use twinpath_flow::rule::Rule;
use twinpath_flow::text::parse_rules;

/// Flows: several parts.
const FLOWS: u16 = 900;

/// Software between two ports, without wires.
struct Bench {
    ports: Arc<PortTable>,
    brain: Brain,
    software: Software,
    now: Time,
}

/// A UDP frame to 10.0.0.0/16's host of that number, with a good header.
fn frame(host: u16) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..16].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
    frame[16..24].copy_from_slice(&[0, 46, 0, 0, 0x40, 0, 64, 17]);
    frame[26..32].copy_from_slice(&[192, 0, 2, 1, 10, 0]);
    frame[32..34].copy_from_slice(&host.to_be_bytes());
    frame[34..40].copy_from_slice(&[4, 0, 0, 80, 0, 26]);
    frame
}

impl Bench {
    /// A rule for each host, so that each has a flow of its own.
    fn new() -> Self {
        let ports = Arc::new(PortTable::new(vec![Port::physical(1), Port::physical(2)]).unwrap());
        let line = |host: u16| {
            let [high, low] = host.to_be_bytes();
            format!("priority=5,ip,nw_dst=10.0.{high}.{low},actions=output:2\n")
        };
        let rules = rules(&(0..FLOWS).map(line).collect::<String>(), &ports);
        let now = Time::from_secs(1);
        let settings = twinpath_offload::Settings::default();
        let mut brain = Brain::new(Arc::clone(&ports), rules, settings, now);
        brain.settle(now, None);
        let pipeline = Arc::clone(brain.pipeline());
        let software = Software::new(fresh_settings(None), brain.generation(), pipeline).in_parts();
        Self { ports, brain, software, now }
    }

    /// Sends a frame to each of some hosts; how many left.
    fn send(&mut self, hosts: std::ops::Range<u16>) -> usize {
        let Self { brain, software, now, .. } = self;
        let mut left = 0;
        for host in hosts {
            let from = (PortNo(1), brain.generation(), *now);
            assert!(software.take(from, 60, &mut |room| room.copy_from_slice(&frame(host))));
            software.process(*now, brain, &mut |pool, sent| {
                if let Sent::Frame(port, packet) = sent {
                    assert_eq!(port, PortNo(2));
                    left += 1;
                    pool.give(packet);
                }
            });
        }
        left
    }

    /// Changes the rules and settles until that is done, with a frame between two parts; whether
    /// each of those left.
    fn change(&mut self, text: &str) -> Vec<bool> {
        let rules = rules(text, &self.ports);
        self.brain.change(|store| store.add(rules));
        let mut left = Vec::new();
        for _ in 0..100 {
            self.brain.settle(self.now, Some(&mut self.software));
            if !self.brain.is_changing() && !self.software.is_under_way() {
                return left;
            }
            left.push(self.send(7..8) == 1);
        }
        panic!("no end of the change");
    }
}

fn rules(text: &str, ports: &PortTable) -> Vec<Rule> {
    parse_rules("r", text, ports).unwrap().into_iter().map(|parsed| parsed.rule).collect()
}

#[test]
fn a_change_takes_several_parts_and_frames_go_on_in_between() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(0..FLOWS), usize::from(FLOWS));
    assert_eq!(bench.software.path.flow_count(), usize::from(FLOWS));
    let before = bench.brain.in_force();
    // All flows are looked at and hold; then all are looked at again and go.
    let kept = bench.change("priority=9,ip,nw_dst=10.1.0.0/16,actions=drop\n");
    assert!(kept.len() >= 4 && kept.iter().all(|left| *left), "{kept:?}");
    assert!(bench.brain.in_force() > before && bench.brain.newest() == bench.brain.in_force());
    let gone = bench.change("priority=9,ip,actions=drop\n");
    let turn = gone.iter().position(|left| !left).expect("the new rules come into force");
    assert!(turn >= 2, "the old rules hold until all flows were looked at: {gone:?}");
    assert!(gone[turn..].iter().all(|left| !left), "old rules after the new ones: {gone:?}");
    assert_eq!(bench.software.path.flow_count(), 1, "flows of the old rules are gone");
    assert_eq!(bench.send(0..FLOWS), 0);
}

#[test]
fn a_second_change_waits_until_the_first_is_cleared_up() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(0..FLOWS), usize::from(FLOWS));
    let rules = rules("priority=9,ip,actions=drop\n", &bench.ports);
    bench.brain.change(|store| store.add(rules));
    bench.brain.settle(bench.now, Some(&mut bench.software));
    let first = bench.brain.newest();
    assert!(first > bench.brain.in_force());
    let _ = bench.change("priority=10,ip,actions=output:2\n");
    assert_eq!(bench.brain.in_force().0, first.0 + 1);
    assert_eq!(bench.send(0..FLOWS), usize::from(FLOWS));
    let told = bench.brain.events.happenings(Time(0));
    assert!(!told.iter().any(|event| event.text.contains("rule change")), "a change was refused");
}

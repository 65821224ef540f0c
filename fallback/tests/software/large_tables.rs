//! Flows of tables with thousands of rules: right for every packet they match, by linear search.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use twinpath_fallback::slow_path::{Scratch, SlowPath};
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::RuleId;
use twinpath_flow::sample::Random;
use twinpath_flow::text::{ParsedRule, parse_rules};

/// What rules of a set have in common.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// Different priorities, up to so many.
    priorities: usize,
    /// Prefix lengths of addresses.
    lengths: &'static [u32],
    rules: usize,
    /// They have more masks than this.
    masks: usize,
}

const STYLES: [Style; 4] = [
    // One mask, many rules: pairs of values that meet alone and not together.
    Style { priorities: 1, lengths: &[32], rules: 1500, masks: 80 },
    Style { priorities: 5, lengths: &[16, 24, 32], rules: 1500, masks: 80 },
    // Each rule its own priority, as access lists have.
    Style {
        priorities: 60_000,
        lengths: &[8, 12, 16, 20, 22, 24, 26, 28, 32],
        rules: 1500,
        masks: 100,
    },
    // More masks than have a place in the sets.
    Style {
        priorities: 9,
        lengths: &[18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32],
        rules: 12_000,
        masks: 2500,
    },
];

fn address(random: &mut Random) -> u32 {
    if random.chance(20) {
        return 0x0a00_0000 | u32::from(random.word());
    }
    let third = random.pick(&[0, 1, 2, 128, 200]);
    u32::from_be_bytes([10, random.pick(&[0, 0, 0, 64]), third, random.pick(&[0, 1, 2, 77, 200])])
}

fn rules(random: &mut Random, style: Style) -> String {
    let mut text = String::new();
    for _ in 0..style.rules {
        let priority = 2 + random.below(style.priorities);
        let protocol = random.pick(&["tcp", "udp", "ip", "arp"]);
        write!(text, "priority={priority},{protocol}").expect("a string");
        for field in ["nw_src", "nw_dst"] {
            let length = random.pick(style.lengths);
            let prefix = address(random) & (u32::MAX << (32 - length));
            let prefix = std::net::Ipv4Addr::from(prefix);
            if random.chance(80) {
                write!(text, ",{field}={prefix}/{length}").expect("a string");
            }
        }
        if matches!(protocol, "tcp" | "udp") && random.chance(60) {
            let field = random.pick(&["tp_src", "tp_dst"]);
            let mask = random.pick(&[0xffff_u16, 0xfff0, 0xff00, 0x0f00]);
            let port = random.pick(&[80_u16, 81, 1000, 0x0450]) & mask;
            write!(text, ",{field}={port:#x}/{mask:#x}").expect("a string");
        }
        if random.chance(5) {
            let mask =
                random.pick(&["01:00:00:00:00:00", "ff:ff:ff:00:00:00", "00:00:00:00:00:ff"]);
            write!(text, ",dl_dst=00:00:00:00:00:00/{mask}").expect("a string");
        }
        if random.chance(5) {
            let tag = random.pick(&["vlan_tci=0x1000/0x1000", "vlan_tci=0", "dl_vlan=5"]);
            write!(text, ",{tag}").expect("a string");
        }
        text.push_str(" actions=drop\n");
    }
    text
}

fn key(random: &mut Random) -> Key {
    let port = |random: &mut Random| random.pick(&[80, 81, 82, 1000, 0x0451, 0xffff]);
    let eth_type = random.pick(&[0x0800, 0x0800, 0x0800, 0x0806, 0x86dd]);
    let mut key = Key::ZERO
        .with(Field::InPort, 1)
        .with(Field::EthType, eth_type)
        .with(Field::VlanTci, random.pick(&[0, 0, 0, 0x1005, 0x1006]))
        .with(Field::EthDst, random.pick(&[0, 1 << 40, 0x0200_0000_0001]))
        .with(Field::IpSrc, address(random).into())
        .with(Field::IpDst, address(random).into())
        .with(Field::IpProto, random.pick(&[1, 6, 17]));
    if matches!(key.get(Field::IpProto), 6 | 17) {
        key.set(Field::L4Src, port(random));
        key.set(Field::L4Dst, port(random));
    }
    key
}

fn linear(pipeline: &Pipeline, key: &Key) -> Vec<RuleId> {
    let matches = |placed: &&PlacedRule| placed.rule.matching.key.matches(key);
    pipeline.table(0).iter().find(matches).map(|placed| placed.id).into_iter().collect()
}

#[test]
fn every_packet_that_a_flow_matches_meets_the_flows_rule() {
    let mut random = Random::new(9);
    let mut scratch = Scratch::default();
    for style in STYLES {
        let ports = Arc::<PortTable>::default();
        let text = rules(&mut random, style);
        let parsed = parse_rules("rules", &text, &ports).expect("rules of a test");
        let place = |(id, parsed): (_, ParsedRule)| PlacedRule {
            id: RuleId(id),
            rule: Arc::new(parsed.rule),
        };
        let pipeline = Arc::new(Pipeline::new(ports, (0..).zip(parsed).map(place)));
        let slow_path = SlowPath::new(Arc::clone(&pipeline), 1);
        let keys: Vec<Key> = (0..300).map(|_| key(&mut random)).collect();
        let masks: HashSet<Key> = pipeline.iter().map(|rule| rule.rule.matching.key.mask).collect();
        assert!(masks.len() > style.masks, "{}", masks.len());
        for first in &keys {
            let flow = slow_path.translate_into(first, &mut scratch).expect("no TTL");
            assert_eq!(flow.rules, linear(&pipeline, first), "{style:?}, {first:?}");
            assert!(flow.matching.matches(first));
            let better = pipeline.table(0).iter().take_while(|rule| flow.rules != [rule.id]);
            for rule in better {
                let overlaps = rule.rule.matching.key.overlaps(&flow.matching);
                assert!(!overlaps, "{style:?}: {flow:?} may match {rule:?}");
            }
        }
    }
}

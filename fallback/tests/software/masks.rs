//! Flows are as wide as is correct: which bits a packet's flow demands, for rules as written.

use std::fmt::Write;
use std::sync::Arc;
use twinpath_fallback::slow_path::SlowPath;
use twinpath_flow::field::Field;
use twinpath_flow::key::Key;
use twinpath_flow::parse::parse;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::rule::RuleId;
use twinpath_flow::steps::{Flow, Step};
use twinpath_flow::text::{parse_packet, parse_rules};

/// Ports 1 to 3.
fn ports() -> Arc<PortTable> {
    Arc::new(PortTable::new((1..=3).map(Port::physical).collect()).expect("distinct"))
}

fn slow_path(rules: &str) -> SlowPath {
    let ports = ports();
    let rules = parse_rules("rules", rules, &ports).expect("rules of a test");
    let place = |(id, parsed): (_, twinpath_flow::text::ParsedRule)| PlacedRule {
        id: RuleId(id),
        rule: Arc::new(parsed.rule),
    };
    let pipeline = Pipeline::new(ports, (0..).zip(rules).map(place));
    SlowPath::new(Arc::new(pipeline), 1)
}

/// The flow for a packet as written for `ofproto/trace`.
fn flow(rules: &str, packet: &str) -> Flow {
    let packet = parse_packet(packet, &ports()).expect("a packet of a test");
    let key = parse(&packet.frame, packet.in_port, &ports()).key;
    slow_path(rules).translate(&key).expect("no exception")
}

/// Fields of the mask with their bits.
fn demands(flow: &Flow) -> Vec<(Field, u128)> {
    let mask = &flow.matching.mask;
    let fields = twinpath_flow::field::FIELDS.iter().map(|spec| spec.field);
    fields.map(|field| (field, mask.get(field))).filter(|(_, bits)| *bits != 0).collect()
}

const IN_PORT: (Field, u128) = (Field::InPort, 0xffff);
const ETH_TYPE: (Field, u128) = (Field::EthType, 0xffff);

#[test]
fn a_rule_that_matches_everything_and_drops_demands_nothing() {
    assert_eq!(demands(&flow("actions=drop", "in_port=1,tcp")), []);
}

#[test]
fn an_output_demands_the_input_port_as_it_is_suppressed_there() {
    let rules = "actions=2";
    assert_eq!(demands(&flow(rules, "in_port=1,tcp")), [IN_PORT]);
    assert_eq!(flow(rules, "in_port=1,tcp").steps, [Step::Output(PortNo(2))]);
    assert_eq!(flow(rules, "in_port=2,tcp").steps, []);
}

#[test]
fn a_better_rule_is_excluded_by_the_cheapest_field() {
    let rules = "priority=9,tcp,nw_dst=10.1.0.0/16,tp_dst=80 actions=2\npriority=1 actions=drop";
    assert_eq!(demands(&flow(rules, "in_port=1,arp")), [ETH_TYPE]);
    assert_eq!(demands(&flow(rules, "in_port=1,udp")), [(Field::IpProto, 0xff)]);
    // Prefixes that exclude end with a byte.
    let near = "in_port=1,tcp,nw_dst=10.1.0.1,tp_dst=128";
    assert_eq!(demands(&flow(rules, near)), [(Field::L4Dst, 0xffff)]);
    let far = "in_port=1,tcp,nw_dst=192.0.0.1,tp_dst=80";
    assert_eq!(demands(&flow(rules, far)), [(Field::IpDst, 0xff00_0000)]);
}

#[test]
fn bits_demanded_anyway_exclude_for_free() {
    let rules = "table=0,priority=9,ip,nw_src=10.0.0.1,tcp,tp_dst=80 actions=drop\n\
                 table=0,priority=1,ip,nw_src=10.0.0.2 actions=drop";
    let flow = flow(rules, "in_port=1,tcp,nw_src=10.0.0.2,tp_dst=443");
    assert_eq!(demands(&flow), [ETH_TYPE, (Field::IpSrc, 0xffff_ffff)]);
}

#[test]
fn ttl_is_an_operation_unless_a_rule_matches_it() {
    let rules = "ip actions=dec_ttl,2";
    let by_threshold = flow(rules, "in_port=1,tcp");
    assert_eq!(demands(&by_threshold), [IN_PORT, ETH_TYPE]);
    assert_eq!(by_threshold.ttl_threshold, Some(1));
    let rules = "table=0,ip actions=dec_ttl,goto_table:1\n\
                 table=1,priority=9,ip,nw_ttl=63 actions=2\ntable=1,priority=1 actions=drop";
    let matched = flow(rules, "in_port=1,tcp,nw_ttl=64");
    assert_eq!(matched.matching.value.get(Field::IpTtl), 64);
    assert_eq!(matched.matching.mask.get(Field::IpTtl), 0xff);
    assert_eq!(matched.rules.len(), 2);
}

#[test]
fn a_field_that_was_set_demands_nothing_of_the_packet() {
    let rules = "table=0,ip actions=mod_nw_dst:10.0.0.9,goto_table:1\n\
                 table=1,priority=9,ip,nw_dst=10.0.0.8 actions=3\n\
                 table=1,priority=8,ip,nw_dst=10.0.0.9 actions=2";
    assert_eq!(demands(&flow(rules, "in_port=1,tcp")), [IN_PORT, ETH_TYPE]);
}

#[test]
fn after_a_pop_the_inner_tag_is_the_outer() {
    let rules = "table=0,vlan_tci=0x1000/0x1000 actions=pop_vlan,goto_table:1\n\
                 table=1,dl_vlan=7 actions=2";
    let ports = ports();
    let frame =
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7]].concat();
    let frame = [&frame[..], &[0x12, 0x34, 0, 0]].concat();
    let key = parse(&frame, PortNo(1), &ports).key;
    let flow = slow_path(rules).translate(&key).expect("no TTL");
    let tags = [(Field::VlanTci, 0x1000), (Field::InnerVlanTci, 0x1fff)];
    assert_eq!(demands(&flow), [IN_PORT, tags[0], tags[1]]);
    assert_eq!(flow.steps, [Step::PopVlan, Step::Output(PortNo(2))]);
}

#[test]
fn a_vlan_id_set_behind_a_pop_adds_a_tag() {
    let rules = "table=0,dl_vlan=5 actions=write_actions(set_field:4103->vlan_vid,output:2),\
                 goto_table:1\ntable=1,dl_vlan=5 actions=pop_vlan";
    let set = Step::Set { field: Field::VlanTci, value: 7, mask: 0x0fff };
    let steps = [Step::PopVlan, Step::PushVlan(0x8100), set, Step::Output(PortNo(2))];
    assert_eq!(flow(rules, "in_port=1,dl_vlan=5").steps, steps);
}

#[test]
fn sets_without_effect_are_no_steps() {
    let rules = "ip,nw_dst=10.0.0.2 actions=mod_nw_dst:10.0.0.2,mod_nw_src:10.0.0.5,\
                 mod_nw_src:10.0.0.6,2,mod_dl_src:02:00:00:00:00:07";
    let set = Step::Set { field: Field::IpSrc, value: 0x0a00_0006, mask: 0xffff_ffff };
    assert_eq!(flow(rules, "in_port=1,tcp,nw_dst=10.0.0.2").steps, [set, Step::Output(PortNo(2))]);
}

#[test]
fn among_thousands_of_rules_a_flow_holds_no_address_of_another_rule() {
    let mut rules = String::from("priority=1 actions=drop\n");
    for host in 0..3000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + host * 11);
        writeln!(rules, "priority=9,ip,nw_dst={address} actions=2").expect("a string");
    }
    let slow_path = slow_path(&rules);
    let base = Key::ZERO.with(Field::InPort, 1).with(Field::EthType, 0x0800);
    for target in (0..40_000).step_by(13) {
        let key = base.with(Field::IpDst, 0x0a00_0000 + target);
        let flow = slow_path.translate(&key).expect("no TTL");
        if target % 11 == 0 && target < 33_000 {
            assert_eq!(flow.rules.len(), 1);
            assert_eq!(flow.matching.mask.get(Field::IpDst), 0xffff_ffff);
            continue;
        }
        assert_eq!(flow.rules, [RuleId(0)]);
        let bits = flow.matching.mask.get(Field::IpDst);
        assert_eq!(bits.count_ones() + bits.trailing_zeros(), 32, "no prefix: {bits:#x}");
        for other in (0..3000).map(|host| 0x0a00_0000 + host * 11) {
            let differing = (flow.matching.value.get(Field::IpDst) ^ other) & bits;
            assert_ne!(differing, 0, "{target} has a flow that {other:#x} matches");
        }
    }
}

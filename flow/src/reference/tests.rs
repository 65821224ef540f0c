//! The specification on small pipelines. `ovs-vectors.txt` holds what Open vSwitch 3.1 did
//! (`vlan-limit=2`, `-O OpenFlow13`, a dummy bridge with ports 1 to 3, its flow cache purged before each
//! packet): rules, the frame received on port 1, the frames sent, port by port.

use super::{Cause, Outcome, Switch, Timeout, process};
use crate::counters::Counts;
use crate::pipeline::{Pipeline, PlacedRule};
use crate::port::{MTU_IN_DEFAULT, Port, PortNo, PortTable};
use crate::rule::RuleId;
use crate::text;
use crate::time::Time;
use std::sync::Arc;

fn ports(mtu_out: Option<u16>, mtu_in: u16) -> Arc<PortTable> {
    let port = |number| Port { mtu_out, mtu_in, ..Port::physical(number) };
    Arc::new(PortTable::new((1..=3).map(port).collect()).unwrap())
}

fn pipeline_over(ports: Arc<PortTable>, rules: &str) -> Pipeline {
    let set = text::parse_rules("test", rules, &ports).unwrap();
    let placed = (1..).map(RuleId).zip(set);
    Pipeline::new(ports, placed.map(|(id, parsed)| PlacedRule { id, rule: Arc::new(parsed.rule) }))
}

fn pipeline(rules: &str) -> Pipeline {
    pipeline_over(ports(None, MTU_IN_DEFAULT), rules)
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// One packet of the file.
#[derive(Default)]
struct Vector<'a> {
    name: &'a str,
    frame: Vec<u8>,
    sent: Vec<(PortNo, Vec<u8>)>,
}

fn check(rules: &str, vector: &Vector<'_>) -> Option<String> {
    let mut got = process(&pipeline(rules), &vector.frame, PortNo(1)).outputs;
    got.sort_by_key(|(port, _)| *port);
    (got != vector.sent).then(|| {
        format!("{}\n{rules}got    {:02x?}\nwanted {:02x?}\n", vector.name, got, vector.sent)
    })
}

#[test]
fn every_packet_goes_where_open_vswitch_sent_it() {
    let mut wrong = Vec::new();
    let (mut rules, mut count, mut in_rules) = (String::new(), 0, false);
    let mut vector = Vector::default();
    for line in include_str!("ovs-vectors.txt").lines().chain(["# end"]) {
        let (word, rest) = line.split_once(' ').unwrap();
        if matches!(word, "#" | "rule") && !vector.frame.is_empty() {
            count += 1;
            wrong.extend(check(&rules, &std::mem::take(&mut vector)));
        }
        match word {
            "#" => vector.name = rest,
            "rule" => {
                if !in_rules {
                    rules.clear();
                }
                rules += &format!("{rest}\n");
            }
            "in" => vector.frame = bytes(rest.strip_prefix("1 ").unwrap()),
            _ => {
                let (port, frame) = rest.split_once(' ').unwrap();
                vector.sent.push((PortNo(port.parse().unwrap()), bytes(frame)));
            }
        }
        in_rules = word == "rule";
    }
    assert!(count > 100, "{count} vectors read");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// IPv4, UDP from port 1 to 2, checksum 0, of 60 bytes.
fn udp_frame() -> Vec<u8> {
    let mut frame = bytes(
        "02000000000202000000000a0800 4500002800010000401166c20a0000010a000002 0001000200140000",
    );
    frame.resize(60, 0);
    frame
}

#[test]
fn dei_is_kept_when_a_tag_is_rewritten() {
    let rules = "vlan_tci=0x1000/0x1000,actions=set_field:4100->vlan_vid,output:2";
    let frame = bytes("02000000000202000000000a81003005 88cc0000");
    let outcome = process(&pipeline(rules), &frame, PortNo(1));
    let wanted = bytes("02000000000202000000000a81003004 88cc0000");
    assert_eq!(outcome.outputs, [(PortNo(2), wanted)]);
}

#[test]
fn a_push_keeps_both_tags_of_a_frame() {
    let frame = bytes("02000000000202000000000a 81002005 81002006 88cc0000");
    let outcome = process(&pipeline("actions=push_vlan:0x88a8,output:2"), &frame, PortNo(1));
    let wanted = bytes("02000000000202000000000a 88a80000 81002005 81002006 88cc0000");
    assert_eq!(outcome.outputs, [(PortNo(2), wanted)]);
}

#[test]
fn layer_4_of_a_later_fragment_is_never_touched() {
    let mut frame = udp_frame();
    frame[21] = 0x10;
    frame[41] = 0x77;
    let rules = "ip,actions=set_field:10.0.0.99->ip_dst,output:2";
    let outcome = process(&pipeline(rules), &frame, PortNo(1));
    let sent = &outcome.outputs[0].1;
    assert_eq!(sent[34..], frame[34..]);
    assert_eq!(sent[30..34], [10, 0, 0, 99]);
}

#[test]
fn metadata_and_goto_lead_through_tables_and_every_rule_hit_is_named() {
    let rules = "table=0,actions=write_metadata:0x21/0xff,goto_table:2\n\
                 table=2,metadata=0x20/0xf0,actions=output:2,goto_table:5\n\
                 table=5,metadata=0x22,actions=output:3";
    let outcome = process(&pipeline(rules), &udp_frame(), PortNo(1));
    let wanted = Outcome {
        outputs: vec![(PortNo(2), udp_frame())],
        rules: vec![RuleId(1), RuleId(2)],
        ..Outcome::default()
    };
    assert_eq!(outcome, wanted);
}

#[test]
fn frames_above_an_mtu_are_lost_and_say_where() {
    let rules = "actions=output:2";
    let small_in = pipeline_over(ports(None, 59), rules);
    assert_eq!(process(&small_in, &udp_frame(), PortNo(1)).losses, [Cause::MtuIn]);
    let small_out = pipeline_over(ports(Some(59), 60), rules);
    let outcome = process(&small_out, &udp_frame(), PortNo(1));
    assert_eq!(outcome.losses, [Cause::MtuOut(PortNo(2))]);
    assert!(outcome.is_drop());
    assert_eq!(outcome.rules, [RuleId(1)]);
}

#[test]
fn the_controller_gets_copies_and_other_outputs_do_not_change() {
    let outcome = process(&pipeline("actions=controller,output:2"), &udp_frame(), PortNo(1));
    assert_eq!(outcome.controller, [udp_frame()]);
    assert_eq!(outcome.outputs, [(PortNo(2), udp_frame())]);
}

#[test]
fn a_switch_counts_and_its_rules_expire() {
    let rules = "priority=2,idle_timeout=2,ip,actions=output:2\n\
                 priority=1,hard_timeout=5,actions=output:3";
    let second = Time::from_secs;
    let mut switch = Switch::new(pipeline(rules), second(0));
    assert_eq!(switch.deadline(), Some(second(2)));
    let _ = switch.receive(&udp_frame(), PortNo(1), second(1));
    assert_eq!(switch.counts(RuleId(1)), Counts { packets: 1, bytes: 60 });
    assert!(switch.expire(second(2)).is_empty());
    let idle = switch.expire(second(3));
    assert_eq!((idle.len(), idle[0].id, idle[0].timeout), (1, RuleId(1), Timeout::Idle));
    assert_eq!(idle[0].counts, Counts { packets: 1, bytes: 60 });
    let outcome = switch.receive(&udp_frame(), PortNo(1), second(4));
    assert_eq!(outcome.outputs[0].0, PortNo(3));
    assert_eq!(switch.expire(second(5))[0].timeout, Timeout::Hard);
    assert!(switch.receive(&udp_frame(), PortNo(1), second(6)).is_drop());
    assert_eq!(switch.deadline(), None);
}

//! Reading and printing rules: literal lines, round trips, errors with their places.

use super::*;
use crate::action::{Action, OutPort};
use crate::field::Field;
use crate::port::Port;
use crate::text::rule_text;

fn ports() -> PortTable {
    let port = |number: u16, name: &str| Port { name: name.to_owned(), ..Port::physical(number) };
    PortTable::new(vec![port(1, "p1"), port(2, "p2"), port(3, "up link")]).unwrap()
}

fn read(text: &str) -> ParsedRule {
    parse_rule("test", text, &ports()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn printed(text: &str) -> String {
    rule_text(&read(text).rule, None).to_string()
}

fn error(text: &str) -> String {
    parse_rule("f", text, &ports()).map(|parsed| parsed.rule).unwrap_err().to_string()
}

#[test]
fn rules_print_as_ovs_ofctl_dumps_them() {
    let cases = [
        ("actions=drop", "actions=drop"),
        ("ip,nw_src=10.1.2.3/8 actions=2", "ip,nw_src=10.0.0.0/8 actions=output:2"),
        ("ip,priority:5,action=p2", "priority=5,ip actions=output:2"),
        (
            "table=1,cookie=5,tcp,tp_dst=010,actions=1 2",
            "cookie=0x5, table=1, tcp,tp_dst=8 actions=output:1,output:2",
        ),
        ("dl_vlan=0xffff actions=2", "vlan_tci=0x0000/0x1000 actions=output:2"),
        ("vlan_tci=0x7003 actions=2", "dl_vlan=3,dl_vlan_pcp=3 actions=output:2"),
        ("actions=mod_vlan_vid:5,2", "actions=push_vlan:0x8100,set_field:4101->vlan_vid,output:2"),
        (
            "dl_vlan=3 actions=mod_vlan_vid:5,2",
            "dl_vlan=3 actions=set_field:4101->vlan_vid,output:2",
        ),
        (
            "arp,nw_proto=1,nw_src=1.2.3.4 actions=2",
            "arp,arp_spa=1.2.3.4,arp_op=1 actions=output:2",
        ),
        (
            "icmp6,icmp_type=135,nd_target=fe80::1,nd_sll=0:0:0:0:0:1 actions=2",
            "icmp6,icmp_type=135,nd_target=fe80::1,nd_sll=00:00:00:00:00:01 actions=output:2",
        ),
        ("tcp,tcp_flags=0x12/0x13 actions=2", "tcp,tcp_flags=-fin+syn+ack actions=output:2"),
        (
            "udp6,udp_src=5,ipv6_label=5 actions=2",
            "udp6,ipv6_label=0x00005,tp_src=5 actions=output:2",
        ),
        (
            "ip,nw_frag=not_later,nw_tos=5 actions=2",
            "ip,nw_tos=4,nw_frag=not_later actions=output:2",
        ),
        ("ip actions=mod_nw_tos:4,dec_ttl,2", "ip actions=set_field:1->ip_dscp,dec_ttl,output:2"),
        ("actions=2,clear_actions,write_actions(pop_vlan,output:3)", ""),
        (
            "actions=2,clear_actions,write_actions(output:3),write_metadata:5/0xf,goto_table:4",
            "actions=output:2,clear_actions,write_actions(output:3),write_metadata:0x5/0xf,goto_table:4",
        ),
        (
            "actions=in_port,all,FLOOD,controller,controller(max_len=9)",
            "actions=IN_PORT,ALL,FLOOD,CONTROLLER:65535,CONTROLLER:9",
        ),
        (
            "idle_timeout=5,hard_timeout=6,send_flow_rem,importance=7,n_packets=3 actions=2",
            "idle_timeout=5, hard_timeout=6, importance=7, send_flow_rem actions=output:2",
        ),
        (
            "tun_id=5,tun_qfi=9,metadata=3/7 actions=set_field:7->tun_id,set_field:9->tun_qfi,2",
            "tun_id=0x5,tun_qfi=9,metadata=0x3/0x7 actions=set_field:7->tun_id,set_field:9->tun_qfi,output:2",
        ),
    ];
    for (text, wanted) in cases {
        if wanted.is_empty() {
            assert!(parse_rule("f", text, &ports()).is_err(), "{text}");
            continue;
        }
        assert_eq!(printed(text), wanted, "{text}");
        assert_eq!(printed(wanted), wanted);
        assert_eq!(read(wanted).rule, read(text).rule, "{text}");
    }
}

#[test]
fn ports_print_by_name_and_read_back() {
    let rule = read("in_port=1 actions=2,3").rule;
    let text = rule_text(&rule, Some(&ports())).to_string();
    assert_eq!(text, "in_port=p1 actions=output:p2,output:\"up link\"");
    assert_eq!(read(&text).rule, rule);
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    let cases = [
        (
            "ip,nw_scr=1.2.3.4,actions=2",
            "f:1:4: unknown field \"nw_scr\", did you mean \"nw_src\"?",
        ),
        (
            "ip,nw_src=1.2.3.400 actions=2",
            "f:1:11: nw_src: bad value \"1.2.3.400\": expected an IPv4 address a.b.c.d, or ADDRESS/LENGTH or ADDRESS/MASK",
        ),
        ("ip,actions=outptu:2", "f:1:12: unknown action \"outptu\", did you mean \"output\"?"),
        ("ip,actions=7", "f:1:12: no port \"7\": expected one of 1 (p1), 2 (p2), 3 (up link)"),
        (
            "in_port=eth9,actions=2",
            "f:1:9: no port \"eth9\": expected one of 1 (p1), 2 (p2), 3 (up link)",
        ),
        ("ip", "f:1:3: expected \"actions=\" and a list of actions"),
        (
            "priority=70000 actions=2",
            "f:1:10: priority: bad value \"70000\": expected a number from 0 to 65535",
        ),
        ("actions=2,group:1", "f:1:11: \"group\" is not supported yet"),
        ("actions=ct(commit)", "f:1:9: \"ct\" is not supported yet"),
        ("ct_state=+trk actions=2", "f:1:1: \"ct_state\" is not supported yet"),
        ("reg0=5 actions=2", "f:1:1: \"reg0\" is not supported yet"),
        ("actions=NORMAL", "f:1:9: \"NORMAL\" is not supported yet"),
        ("actions=drop,2", "f:1:9: \"drop\" must be the only action"),
        ("actions=goto_table:1,2", "f:1:22: \"plain actions\" must come before \"goto_table\""),
        ("actions=goto_table:1,goto_table:2", "f:1:22: \"goto_table\" is written twice"),
        (
            "table=3 actions=goto_table:3",
            "f:1:28: goto_table must lead to a table after 3, not to 3",
        ),
        ("actions=set_field:1.2.3.4->ip_src", "f:1:28: ip_src needs a match on ip"),
        ("udp actions=set_field:5->tcp_src", "f:1:26: tcp_src needs a match on tcp or tcp6"),
        ("actions=dec_ttl", "f:1:9: dec_ttl needs a match on ip or ipv6"),
        (
            "actions=pop_vlan",
            "f:1:9: pop_vlan needs a match on a VLAN tag (dl_vlan, or push_vlan before)",
        ),
        (
            "ip actions=set_field:1.2.3.4->ip_scr",
            "f:1:31: unknown field \"ip_scr\", did you mean \"ip_src\"?",
        ),
        ("ip actions=write_actions(2", "f:1:25: unbalanced parentheses"),
        ("delete ip", "f:1:1: \"delete\" has no place in a list of rules"),
        (
            "tcp,nw_frag=later,tp_src=4 actions=2",
            "f:1:19: tp_src cannot be matched in later fragments",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(error(text), wanted, "{text}");
    }
}

#[test]
fn a_file_with_one_bad_line_loads_nothing_and_names_every_bad_line() {
    let text =
        "# rules\nip,actions=2\n\nfoo,actions=2 # bad\nadd arp,actions=flood\nip,actions=9\n";
    let errors = parse_rules("x.flows", text, &ports()).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(4, 1), (6, 12)]);
    let good = text.replace("foo", "udp").replace("=9", "=1");
    let rules = parse_rules("x.flows", &good, &ports()).unwrap();
    assert_eq!(rules.iter().map(|rule| rule.line).collect::<Vec<_>>(), [2, 4, 5, 6]);
    assert_eq!(rules[2].rule.instructions.apply, [Action::Output(OutPort::Flood)]);
}

#[test]
fn a_hostile_file_gets_a_bounded_list_of_errors() {
    let text = "bad\n".repeat(100_000);
    let errors = parse_rules("x", &text, &ports()).unwrap_err();
    assert_eq!(errors.len(), ERROR_COUNT_MAX + 1);
    assert_eq!(errors.last().unwrap().problem, Problem::TooMany);
}

#[test]
fn a_field_without_its_prerequisite_is_ignored_with_a_note() {
    let parsed = read("nw_src=10.0.0.0/8,tp_dst=80,actions=2");
    assert_eq!(parsed.rule.matching, Match::default());
    let notes: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "test:1: nw_src is ignored, because the rule does not also match ip, arp or rarp",
            "test:1: tp_dst is ignored, because the rule does not also match tcp, udp, sctp \
             (or with 6), icmp or icmp6",
        ]
    );
}

#[test]
fn overlaps_and_replacements_are_noted_on_the_later_line() {
    let text = "ip,nw_src=10.0.0.0/8,actions=1\n\
                ip,nw_dst=10.0.0.0/8,actions=2\n\
                priority=5,ip,actions=1\n\
                ip,nw_src=11.0.0.0/8,nw_dst=1.1.1.1,actions=2\n\
                ip,nw_src=10.0.0.0/8,actions=2\n";
    let rules = parse_rules("x", text, &ports()).unwrap();
    let doubts: Vec<Vec<Doubt>> =
        rules.iter().map(|rule| rule.warnings.iter().map(|w| w.doubt.clone()).collect()).collect();
    let wanted: [Vec<Doubt>; 5] = [
        vec![],
        vec![Doubt::Overlap { earlier_line: 1 }],
        vec![],
        vec![],
        vec![Doubt::Replaces { earlier_line: 1 }],
    ];
    assert_eq!(doubts, wanted);
}

#[test]
fn the_last_of_contradicting_words_wins_as_in_ovs() {
    assert_eq!(printed("ip,ipv6,actions=2"), "ipv6 actions=output:2");
    assert_eq!(printed("tcp,ip,actions=2"), "tcp actions=output:2");
    assert_eq!(
        printed("ip,nw_src=1.2.3.4,nw_src=1.2.3.5/24,actions=2"),
        "ip,nw_src=1.2.3.0/24 actions=output:2"
    );
    assert_eq!(printed("tp_dst=5,tcp,actions=2"), "tcp,tp_dst=5 actions=output:2");
}

#[test]
fn a_set_field_of_every_settable_field_is_read_into_the_key_field() {
    let set = |text: &str| match read(text).rule.instructions.apply.last() {
        Some(Action::SetField { field, value, mask }) => (*field, *value, *mask),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(set("dl_vlan=3,actions=set_field:5->vlan_pcp"), (Field::VlanTci, 0xa000, 0xe000));
    assert_eq!(set("dl_vlan=3,actions=set_field:0x3/0xf->vlan_vid"), (Field::VlanTci, 3, 0xf));
    assert_eq!(set("ip,actions=set_field:5->ip_dscp"), (Field::IpTos, 20, 0xfc));
    assert_eq!(set("arp,actions=set_field:2->arp_op"), (Field::IpProto, 2, 0xff));
    let target = "icmp6,icmp_type=136,actions=set_field:::1->nd_target";
    assert_eq!(set(target), (Field::NdTarget, 1, u128::MAX));
    assert_eq!(set("actions=set_field:9->tun_qfi"), (Field::Qfi, 0x89, 0xff));
}

#[test]
fn generated_rules_print_what_they_parse_from() {
    use crate::sample::{self, Random, Tunnels};
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let ports = sample::port_table(&mut random, Tunnels::Some);
        for rule in sample::rules(&mut random, &ports) {
            for names in [None, Some(&*ports)] {
                let text = rule_text(&rule, names).to_string();
                let parsed = parse_rule("printed", &text, &ports);
                let parsed = parsed.unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
                assert_eq!(rule_text(&parsed.rule, names).to_string(), text, "seed {seed}");
                assert_eq!(parsed.rule.check(), Ok(()), "seed {seed}: {text}");
            }
        }
    }
}

#[test]
fn a_file_with_ten_thousand_masks_is_read_in_bounded_time() {
    use std::fmt::Write;
    let mut text = String::new();
    for mask in 1..10_000 {
        writeln!(text, "tun_id={mask}/{mask},actions=1").unwrap();
    }
    writeln!(text, "tun_id=1/1,actions=2").unwrap();
    let rules = parse_rules("x", &text, &ports()).unwrap();
    let last = &rules.last().unwrap().warnings[0];
    assert_eq!(last.doubt, Doubt::Replaces { earlier_line: 1 });
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_place_within_it(
        start in 0_usize..300,
        edits in proptest::collection::vec((0_usize..200, "[ -~\u{e9}]{0,3}"), 0..6),
    ) {
        use crate::sample::{self, Random};
        let mut random = Random::new(start as u64);
        let rule = sample::rule(&mut random, &ports(), 0);
        let mut text: Vec<char> = rule_text(&rule, None).to_string().chars().collect();
        for (at, with) in edits {
            let at = at % (text.len() + 1);
            let end = (at + 1).min(text.len());
            text.splice(at..end, with.chars());
        }
        let text: String = text.into_iter().collect();
        let _ = crate::text::parse_packet(&text, &ports());
        let _ = crate::text::parse_selector("any", &text, &ports());
        if let Err(error) = parse_rule("any", &text, &ports()) {
            let length = u32::try_from(text.chars().count()).unwrap();
            proptest::prop_assert!(error.column >= 1 && error.column <= length + 1, "{error}");
        }
    }
}

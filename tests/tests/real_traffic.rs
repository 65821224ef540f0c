//! Real traffic between two hosts joined only by `twinpath`: with the simulated card and without,
//! over TAP, packet and AF_XDP sockets. Nothing is lost or reordered that the wire did not lose.

use serde_json::Value;
use twinpath_tests::netns::{Attachment, Laboratory, Namespace, Plan, Trunk, wait_for};
use twinpath_tests::traffic::{Conversation, Datagrams, datagrams, transfer};

/// Both hosts as if by a cable; ARP, IPv4 and IPv6 as flows of their own.
const CABLE: &str = "\
priority=10,in_port=1,ip,actions=output:2
priority=10,in_port=2,ip,actions=output:1
priority=10,in_port=1,ipv6,actions=output:2
priority=10,in_port=2,ipv6,actions=output:1
priority=10,in_port=1,arp,actions=output:2
priority=10,in_port=2,arp,actions=output:1
";

const SIM: &str = "device = \"sim\"";
const NONE: &str = "device = \"none\"";

fn cable(device: &str, attachment: Attachment) -> Laboratory {
    Laboratory::new(Plan { device, attachment, rules: CABLE, trunk: Trunk::Absent })
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is not a number in {value}"))
}

/// Packets the card decided.
fn by_card(summary: &Value) -> u64 {
    number(&summary["packets"], "card")
}

#[test]
fn hosts_find_and_ping_each_other_over_ipv4_and_ipv6() {
    for device in [SIM, NONE] {
        for attachment in [Attachment::Tap, Attachment::Veth, Attachment::Xdp] {
            let laboratory = cable(device, attachment);
            for target in ["10.9.0.2", "fd09::2"] {
                let text = laboratory.left.run(&format!("ping -n -i 0.02 -c 50 -W 5 {target}"));
                assert!(text.contains(" 0% packet loss"), "{device} {attachment:?}: {text}");
                assert!(!text.contains("duplicates"), "{text}");
                // Neighbour discovery went through as well; nothing was configured.
                let neighbours = laboratory.left.run(&format!("ip neighbour show {target}"));
                assert!(neighbours.contains("02:00:00:00:00:02"), "{neighbours}");
            }
            let summary = laboratory.stop();
            assert_eq!(summary["packets"]["lost"], serde_json::json!({}));
            assert!(device == NONE || by_card(&summary) > 100, "{}", summary["packets"]);
        }
    }
}

#[test]
fn a_gigabyte_over_tcp_arrives_unchanged_through_the_card() {
    let laboratory = cable(SIM, Attachment::Tap);
    let target = ([10, 9, 0, 2], 5_000).into();
    let [left, right] = transfer(&laboratory.left, &laboratory.right, target, 1 << 30);
    assert_eq!(left, right);
    assert_eq!(left.0, 1 << 30);
    let summary = laboratory.stop();
    let ratio = summary["offload_ratio"].as_f64().expect("packets were decided");
    assert!(ratio > 0.9, "the card decided only {ratio} of {}", summary["packets"]);
}

#[test]
fn large_frames_of_the_senders_stack_arrive_unchanged_over_packet_sockets() {
    for device in [SIM, NONE] {
        let laboratory = cable(device, Attachment::Veth);
        let targets =
            [([10, 9, 0, 2], 5_000).into(), ([0xfd09, 0, 0, 0, 0, 0, 0, 2], 5_001).into()];
        for target in targets {
            let [left, right] = transfer(&laboratory.left, &laboratory.right, target, 128 << 20);
            assert_eq!(left, right, "{device} {target}");
        }
        drop(laboratory.stop());
    }
}

#[test]
fn a_stream_arrives_unchanged_over_af_xdp_sockets() {
    for device in [SIM, NONE] {
        let laboratory = cable(device, Attachment::Xdp);
        let targets =
            [([10, 9, 0, 2], 5_000).into(), ([0xfd09, 0, 0, 0, 0, 0, 0, 2], 5_001).into()];
        for target in targets {
            let [left, right] = transfer(&laboratory.left, &laboratory.right, target, 128 << 20);
            assert_eq!(left, right, "{device} {target}");
        }
        drop(laboratory.stop());
    }
}

#[test]
fn large_frames_inside_the_hosts_own_tunnel_are_cut_as_well() {
    for checksum in ["udpcsum", "noudpcsum"] {
        let laboratory = cable(NONE, Attachment::Veth);
        for (host, own, other) in [(&laboratory.left, 1, 2), (&laboratory.right, 2, 1)] {
            let ends = format!("local 10.9.0.{own} remote 10.9.0.{other} dev eth0 dstport 4789");
            host.run(&format!("ip link add vx type vxlan id 7 {ends} {checksum}"));
            host.run(&format!("ip address add 10.7.0.{own}/24 dev vx"));
            host.run("ip link set vx up");
        }
        let target = ([10, 7, 0, 2], 5_000).into();
        let [left, right] = transfer(&laboratory.left, &laboratory.right, target, 64 << 20);
        assert_eq!(left, right, "{checksum}");
        // A frame that could not be cut would have come again, smaller.
        let (again, all) = ("TcpRetransSegs", "TcpOutSegs");
        let (again, all) =
            (laboratory.left.stack_counter(again), laboratory.left.stack_counter(all));
        assert!(again * 100 < all, "{checksum}: {again} of {all}");
        drop(laboratory.stop());
    }
}

#[test]
fn iperf3_sees_no_loss_on_the_way() {
    let laboratory = cable(SIM, Attachment::Tap);
    let _server = laboratory.right.start("iperf3 -s -1");
    wait_for("iperf3", || {
        let listening = laboratory.right.run("ss -lnt");
        listening.contains(":5201").then_some(())
    });
    let text = laboratory.left.run("iperf3 -c 10.9.0.2 -u -b 60M -l 1200 -t 3 --json");
    let report: Value = serde_json::from_str(&text).expect("iperf3 reports JSON");
    assert_eq!(report["error"], Value::Null);
    let sum = &report["end"]["sum"];
    // What a late reader's socket has dropped was there.
    let unread = laboratory.right.stack_counter("UdpRcvbufErrors");
    assert_eq!(number(sum, "lost_packets"), unread, "{sum}");
    assert!(number(sum, "packets") > 15_000, "{sum}");
    drop(laboratory.stop());
}

/// Rules of a switch whose hosts are in VLAN 42 of a trunk between ports 3 and 4.
const TRUNKED: &str = "\
in_port=1,actions=push_vlan:0x8100,set_field:4138->vlan_vid,output:3
in_port=4,dl_vlan=42,actions=pop_vlan,output:2
in_port=2,actions=push_vlan:0x8100,set_field:4138->vlan_vid,output:4
in_port=3,dl_vlan=42,actions=pop_vlan,output:1
";

#[test]
fn tagged_frames_cross_a_trunk() {
    for device in [SIM, NONE] {
        let laboratory = Laboratory::new(Plan {
            device,
            attachment: Attachment::Tap,
            rules: TRUNKED,
            trunk: Trunk::Joined,
        });
        let text = laboratory.left.run("ping -n -i 0.02 -c 50 -W 5 -s 1472 -M do 10.9.0.2");
        assert!(text.contains(" 0% packet loss"), "{text}");
        let target = ([10, 9, 0, 2], 5_000).into();
        let [left, right] = transfer(&laboratory.left, &laboratory.right, target, 64 << 20);
        assert_eq!(left, right, "{device}");
        let summary = laboratory.stop();
        let rules = summary["rules"].as_array().expect("rules are a list");
        let tagged: Vec<&Value> =
            rules.iter().filter(|rule| rule["match"].to_string().contains("dl_vlan=42")).collect();
        assert_eq!(tagged.len(), 2, "{rules:?}");
        assert!(tagged.iter().all(|rule| number(rule, "packets") > 1_000), "{tagged:?}");
    }
}

/// The statistics, and what the hosts' own interfaces counted, of a moment when nothing passed.
fn snapshot(laboratory: &Laboratory) -> [Value; 2] {
    let count = |host: &Namespace| {
        let (sent, received) = (host.counter("tx_packets"), host.counter("rx_packets"));
        serde_json::json!({ "tx": sent, "rx": received })
    };
    wait_for("a moment of silence", || {
        let before = laboratory.twinpath.stats();
        let hosts = serde_json::json!({ "left": count(&laboratory.left), "right": count(&laboratory.right) });
        let after = laboratory.twinpath.stats();
        (before["ports"] == after["ports"]).then_some([after, hosts])
    })
}

#[test]
fn numbered_datagrams_are_neither_lost_nor_reordered_and_all_are_counted() {
    for (device, attachment) in [
        (SIM, Attachment::Tap),
        (SIM, Attachment::Veth),
        (NONE, Attachment::Tap),
        (NONE, Attachment::Veth),
        (SIM, Attachment::Xdp),
        (NONE, Attachment::Xdp),
    ] {
        let laboratory = cable(device, attachment);
        // The hosts greet each other first, so that nothing waits for ARP.
        laboratory.left.run("ping -n -c 1 -W 5 10.9.0.2");
        let before = snapshot(&laboratory);
        let target = ([10, 9, 0, 2].into(), 6_000, 4);
        let seen = datagrams(&laboratory.left, &laboratory.right, target, (40_000, 20));
        let want = Datagrams { sent: 40_000, received: 40_000, reordered: 0, repeated: 0 };
        assert_eq!(seen, want, "{device} {attachment:?}");
        let after = snapshot(&laboratory);
        // What the hosts' interfaces counted is what the ports counted, and the rules as well.
        let grown = |pointer: &str| {
            let number = |value: &Value| value.pointer(pointer).and_then(Value::as_u64);
            let [early, late] = [&before, &after].map(|values| values.iter().find_map(number));
            late.expect("a number") - early.expect("a number")
        };
        for (port, host) in [(0, "left"), (1, "right")] {
            assert_eq!(grown(&format!("/ports/{port}/rx_packets")), grown(&format!("/{host}/tx")));
            assert_eq!(grown(&format!("/ports/{port}/tx_packets")), grown(&format!("/{host}/rx")));
            assert_eq!(grown(&format!("/ports/{port}/tx_dropped")), 0);
        }
        let summary = laboratory.stop();
        assert_eq!(summary["packets"]["lost"], serde_json::json!({}));
        let rules = summary["rules"].as_array().expect("rules are a list");
        let counted: u64 = rules.iter().map(|rule| number(rule, "packets")).sum();
        assert_eq!(counted, number(&summary["packets"], "received"));
    }
}

/// Whether the flow of the conversation's questions is in the card; `None` when there is none.
fn is_in_card(laboratory: &Laboratory) -> Option<bool> {
    let answer: Value = serde_json::from_str(&laboratory.twinpath.command(&["flows", "--json"]))
        .expect("flows are JSON");
    let flows = answer["flows"].as_array().expect("flows are a list");
    let is_ours = |flow: &&Value| flow["match"].to_string().contains("tp_dst=5001");
    flows.iter().find(is_ours).map(|flow| flow["where"] == "card")
}

fn wait_until_in_card(laboratory: &Laboratory, wanted: bool) {
    wait_for(&format!("the flow of questions in the card: {wanted}"), || {
        (is_in_card(laboratory) == Some(wanted)).then_some(())
    });
}

#[test]
fn a_connection_stays_up_while_its_flow_is_installed_evicted_and_installed_again() {
    const COMPETITORS: u16 = 40;
    let mut rules = String::from("priority=10,arp,in_port=1,actions=output:2\n");
    rules.push_str("priority=10,arp,in_port=2,actions=output:1\n");
    rules.push_str("priority=10,icmp6,actions=all\n");
    rules.push_str("priority=50,in_port=2,tcp,actions=output:1\n");
    for port in 6_000..6_000 + COMPETITORS {
        rules.push_str(&format!("priority=50,in_port=1,udp,tp_dst={port},actions=output:2\n"));
    }
    let talk = "priority=50,in_port=1,tcp,tp_dst=5001,actions=output:2";
    rules.push_str(talk);
    let laboratory = Laboratory::new(Plan {
        device: "device = \"sim\"\n[sim]\nprofile = \"tiny\"\ncapacity = 16\nternary = 0",
        attachment: Attachment::Tap,
        rules: &rules,
        trunk: Trunk::Absent,
    });
    let (left, right) = (&laboratory.left, &laboratory.right);
    let conversation = Conversation::start(left, right, ([10, 9, 0, 2], 5_001).into());
    for _ in 0..2 {
        wait_until_in_card(&laboratory, true);
        // Forty hotter flows want the few places of the card.
        let seen = std::thread::scope(|scope| {
            let target = ([10, 9, 0, 2].into(), 6_000, COMPETITORS);
            let competitors = scope.spawn(move || datagrams(left, right, target, (80_000, 20)));
            wait_until_in_card(&laboratory, false);
            competitors.join().expect("they are done")
        });
        let want = Datagrams { sent: 80_000, received: 80_000, reordered: 0, repeated: 0 };
        assert_eq!(seen, want);
        wait_until_in_card(&laboratory, true);
    }
    assert_eq!(laboratory.twinpath.stats()["packets"]["lost"], serde_json::json!({}));
    // Without its rule the connection is silent for a moment, and TCP makes up for it.
    drop(laboratory.twinpath.command(&["rules", "del", "tcp,tp_dst=5001"]));
    wait_for("the flow to go", || (is_in_card(&laboratory) != Some(true)).then_some(()));
    drop(laboratory.twinpath.command(&["rules", "add", talk]));
    wait_until_in_card(&laboratory, true);
    let answered = conversation.end();
    assert!(answered > 300, "{answered}");
    drop(laboratory.stop());
}

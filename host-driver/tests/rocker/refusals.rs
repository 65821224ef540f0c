//! What the device would do otherwise is refused, and nothing of it reaches the device.

use crate::rig::{And, Rig, entry, from, physical, set, to, trusting};
use std::net::Ipv4Addr;
use twinpath_flow::card::{EntryId, FlowOp, Generation, Refusal, TableId};
use twinpath_flow::edit::{Edit, Tag};
use twinpath_flow::field::Field;
use twinpath_flow::key::{Line, MaskedKey};
use twinpath_flow::port::{OuterTos, Port, PortKind, PortNo, PortTable, Tunnel, TunnelKind};
use twinpath_host_driver::nic::SmartNic;
use twinpath_host_driver::rocker::{Ipv4Header, Settings};

/// Adds an entry that must be refused without a command.
fn refused(rig: &mut Rig, what: &str, matching: MaskedKey, edit: Edit) {
    let before = rig.device.state().commands;
    assert_eq!(rig.add(1, matching, edit), Err(Refusal::Unsupported), "{what}");
    assert_eq!(rig.device.state().commands, before, "{what}");
}

fn push(tpid: u16, tci: u16) -> Edit {
    Edit { pushes: vec![Tag { tpid, tci }], ..to(&[20]) }
}

#[test]
fn matches_the_device_ignores_are_refused() {
    let mut rig = Rig::new();
    let ip = from(10).and(Field::EthType, 0x0800);
    for field in [
        Field::IpSrc,
        Field::IpDst,
        Field::L4Src,
        Field::L4Dst,
        Field::IpTtl,
        Field::IpFrag,
        Field::TcpFlags,
        Field::TunId,
        Field::InnerVlanTci,
    ] {
        refused(&mut rig, field.spec().name, ip.and(field, 1), to(&[20]));
    }
    refused(&mut rig, "ECN", ip.and(Field::IpTos, 1), to(&[20]));
    let offered = rig.nic.capabilities().tables[0].fields;
    assert_eq!(offered.count_ones(), 16 + 16 + 16 + 48 + 48 + 8 + 6);
    let can = &rig.nic.capabilities().actions;
    assert_eq!((can.pops, can.pushes, can.ttl_decrements, can.tunnel_outputs), (1, 1, 0, 0));
    assert!(!can.tci && !can.hairpin);
}

#[test]
fn matches_the_device_reads_otherwise_are_refused() {
    let mut rig = Rig::new();
    for ethertype in [0, 0x05ff, 0x8100, 0x88a8] {
        let matching = from(10).and(Field::EthType, ethertype);
        refused(&mut rig, "a type that is none to the device", matching, to(&[20]));
    }
    let half = from(10).and_bits(Field::EthType, 0x0800, 0xff00);
    refused(&mut rig, "half a type", half, to(&[20]));
    for ethertype in [0x86dd, 0x0806] {
        let matching = from(10).and(Field::EthType, ethertype).and(Field::IpProto, 1);
        refused(&mut rig, "protocol of another type", matching, to(&[20]));
    }
    refused(&mut rig, "protocol without type", from(10).and(Field::IpProto, 1), to(&[20]));
    refused(&mut rig, "an unknown port", from(11), to(&[20]));
    refused(
        &mut rig,
        "half a port",
        MaskedKey::default().and_bits(Field::InPort, 10, 0xff),
        to(&[]),
    );
}

#[test]
fn outputs_the_device_would_not_do_are_refused() {
    let mut rig = Rig::new();
    refused(&mut rig, "back to the input port", from(10), to(&[20, 10]));
    refused(&mut rig, "to the input port, perhaps", MaskedKey::default(), to(&[20]));
    refused(&mut rig, "an unknown port", from(10), to(&[11]));
    refused(&mut rig, "a port of the card that is not configured", from(10), to(&[4]));
    refused(&mut rig, "one port twice", from(10), to(&[20, 20]));
    refused(&mut rig, "controller", from(10), Edit { controller: true, ..to(&[20]) });
}

#[test]
fn edits_the_device_would_not_do_are_refused() {
    let mut rig = Rig::new();
    let tagged = from(10).and_bits(Field::VlanTci, 0x1005, 0x1fff);
    let retag = Edit { tci: (6, 0xfff), ..to(&[20]) };
    refused(&mut rig, "rewriting a tag destroys the frame", tagged, retag);
    refused(&mut rig, "pop and push destroys it too", tagged, Edit { pops: 1, ..push(0x8100, 6) });
    refused(&mut rig, "a second tag", tagged, push(0x8100, 6));
    refused(&mut rig, "a service tag", from(10), push(0x88a8, 6));
    for tci in [0, 4095, 0x2006] {
        refused(&mut rig, "a tag with this TCI", from(10), push(0x8100, tci));
    }
    refused(&mut rig, "two tags off", tagged, Edit { pops: 2, ..to(&[20]) });
    refused(&mut rig, "pop of what may be untagged", from(10), Edit { pops: 1, ..to(&[20]) });
    refused(&mut rig, "TTL", from(10), Edit { ttl_decrements: 1, ..to(&[20]) });
    refused(&mut rig, "an all-zero address", from(10), set(to(&[20]), Field::EthSrc, 0));
    for field in [Field::IpSrc, Field::IpTos, Field::L4Dst, Field::IpTtl, Field::TunId] {
        refused(&mut rig, field.spec().name, from(10), set(to(&[20]), field, 1));
    }
    let mut half = set(to(&[20]), Field::EthSrc, 1);
    half.set_mask.set(Field::EthSrc, 0xff);
    refused(&mut rig, "half an address", from(10), half);
}

#[test]
fn ipv4_headers_are_not_offered_unless_trusted() {
    let settings = Settings { ipv4_header: Ipv4Header::Untrusted, ..trusting() };
    let mut rig = Rig::with(crate::rig::ports(), settings);
    let ip = from(10).and(Field::EthType, 0x0800);
    refused(&mut rig, "protocol", ip.and(Field::IpProto, 17), to(&[20]));
    refused(&mut rig, "DSCP", ip.and_bits(Field::IpTos, 0xb8, 0xfc), to(&[20]));
    rig.add(2, ip, to(&[20])).unwrap();
}

#[test]
fn operations_beyond_the_declared_capabilities_are_refused() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    let id = EntryId(1);
    let unsupported = Err(Refusal::Unsupported);
    let boxed = |entry| Box::new(entry);
    let (mut late, mut elsewhere) = (entry(2, from(10), to(&[20])), entry(3, from(10), to(&[20])));
    late.ttl_threshold = Some(1);
    elsewhere.table = TableId(1);
    let held = boxed(entry(4, from(10), to(&[20])));
    assert_eq!(
        rig.operate(|tag| FlowOp::Add { tag, entry: boxed(late), hold: false }),
        unsupported
    );
    let elsewhere = boxed(elsewhere);
    assert_eq!(rig.operate(|tag| FlowOp::Add { tag, entry: elsewhere, hold: false }), unsupported);
    assert_eq!(rig.operate(|tag| FlowOp::Add { tag, entry: held, hold: true }), unsupported);
    assert_eq!(rig.operate(|tag| FlowOp::Release { tag, id }), unsupported);
    let generation = Generation(2);
    assert_eq!(rig.operate(|tag| FlowOp::Commit { tag, generation }), unsupported);
    let until = Some(generation);
    assert_eq!(rig.operate(|tag| FlowOp::Delete { tag, id, until }), unsupported);
    let (table, mask) = (TableId(0), Line::ZERO);
    assert_eq!(
        rig.operate(|tag| FlowOp::SetMask { tag, table, mask: Box::new(mask) }),
        unsupported
    );
    assert_eq!(rig.add(1, from(20), to(&[30])), Err(Refusal::Exists));
}

#[test]
fn entries_beyond_the_limit_find_the_table_full() {
    let mut rig = Rig::with(crate::rig::ports(), Settings { entries_max: 2, ..trusting() });
    rig.add(1, from(10), to(&[20])).unwrap();
    rig.add(2, from(20), to(&[30])).unwrap();
    assert_eq!(rig.add(3, from(30), to(&[10])), Err(Refusal::TableFull));
    rig.delete(1).unwrap();
    rig.add(3, from(30), to(&[10])).unwrap();
}

fn tunnel_over(over: u16) -> Port {
    let tunnel = Tunnel {
        kind: TunnelKind::Vxlan,
        over: PortNo(over),
        local_ip: Ipv4Addr::new(10, 0, 0, 2),
        remote_ip: None,
        local_mac: [2, 0, 0, 0, 0, 2],
        peer_mac: [2, 0, 0, 0, 0, 1],
        tos: OuterTos::Fixed(0),
        ttl: 64,
        qfi: None,
    };
    Port { kind: PortKind::Tunnel(tunnel), ..physical(over + 1) }
}

#[test]
fn what_may_be_a_tunnels_packet_comes_to_the_host() {
    let ports = [10, 20, 30].map(physical).into_iter().chain([tunnel_over(10)]).collect();
    let mut rig = Rig::with(PortTable::new(ports).unwrap(), trusting());
    refused(&mut rig, "a SNAP frame may carry one", from(10), to(&[20]));
    refused(&mut rig, "a tunnel port", from(11).and(Field::EthType, 0x0800), to(&[20]));
    refused(&mut rig, "a tunnel port", from(20), to(&[11]));
    rig.add(1, from(10).and(Field::EthType, 0x0800), to(&[20])).unwrap();
    let udp = crate::rig::frame(2, 1, &[0x0800], &crate::rig::ipv4(17, 0, 40));
    assert_eq!(rig.pass(10, &udp), (vec![], vec![udp.clone()]));
    let tcp = crate::rig::frame(2, 1, &[0x0800], &crate::rig::ipv4(6, 0, 40));
    assert_eq!(rig.pass(10, &tcp), (vec![(20, tcp)], vec![]));
    rig.add(2, from(20), to(&[30])).unwrap();
    assert_eq!(rig.pass(20, &udp).0.len(), 1, "no tunnel is over that port");
}

#[test]
fn a_port_with_a_limit_of_length_is_no_output() {
    let mut limited = physical(20);
    limited.mtu_out = Some(1514);
    let ports = PortTable::new(vec![physical(10), limited, physical(30)]).unwrap();
    let mut rig = Rig::with(ports, trusting());
    refused(&mut rig, "the device cannot keep it", from(10), to(&[20]));
    rig.add(1, from(20), to(&[10])).unwrap();
}

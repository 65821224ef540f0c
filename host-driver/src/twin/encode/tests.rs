//! Literal images of entries, and what the card cannot do is refused.

use super::{Encoder, settable};
use std::net::Ipv4Addr;
use std::sync::Arc;
use twinpath_abi::capability::action;
use twinpath_abi::entry::{EntryImage, Push};
use twinpath_flow::card::{Entry, EntryId, Generation, Refusal, TableId, TableKind};
use twinpath_flow::edit::{Edit, Tag};
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::port::{OuterTos, Port, PortKind, PortNo, PortTable, Tunnel, TunnelKind};

fn ports() -> PortTable {
    let port = |number: u16, kind| Port { kind, ..Port::physical(number) };
    let tunnel = PortKind::Tunnel(Tunnel {
        kind: TunnelKind::Gtpu,
        over: PortNo(5),
        local_ip: Ipv4Addr::new(10, 0, 0, 1),
        remote_ip: None,
        local_mac: [2, 0, 0, 0, 0, 1],
        peer_mac: [2, 0, 0, 0, 0, 2],
        tos: OuterTos::Inherit,
        ttl: 64,
        qfi: None,
    });
    let physical = PortKind::Physical;
    PortTable::new(vec![port(3, physical.clone()), port(5, physical), port(12, tunnel)]).unwrap()
}

fn encoder() -> Encoder {
    Encoder::new(&ports(), action::ALL, 4)
}

fn set(edit: &mut Edit, field: Field, value: u128, mask: u128) {
    edit.set_value.set(field, value);
    edit.set_mask.or_field(field, mask);
}

#[test]
fn an_edit_becomes_byte_masks_bit_masks_tags_and_ports() {
    let mut edit = Edit { ttl_decrements: 1, pops: 1, tci: (0x6007, 0xefff), ..Edit::default() };
    set(&mut edit, Field::EthDst, 0x0200_0000_00aa, Field::EthDst.full_mask());
    set(&mut edit, Field::IpDst, 0x0a01_0203, 0xffff_ffff);
    set(&mut edit, Field::IpTos, 0xb8, 0xfc);
    set(&mut edit, Field::TunId, 77, 0xffff_ffff);
    set(&mut edit, Field::TunDst, 0x0a00_0002, 0xffff_ffff);
    set(&mut edit, Field::Qfi, 0x89, 0xff);
    edit.pushes = vec![Tag { tpid: 0x88a8, tci: 9 }];
    edit.outputs = vec![PortNo(5), PortNo(3), PortNo(12)];
    let (image, bytes) = encoder().edit(&edit, Some(1)).unwrap();
    assert_eq!(image.byte_mask, 0xf0f0_0000_0003_f000, "bytes 12-17, 52-55, 60-63");
    assert_eq!((image.tos_mask, bytes[7]), (0xfc, 0xb8));
    assert_eq!((image.tci_mask, &bytes[4..6]), (0xefff, &[0x60, 0x07][..]));
    assert_eq!(bytes[12..18], [2, 0, 0, 0, 0, 0xaa]);
    assert_eq!(bytes[52..56], [10, 1, 2, 3]);
    assert_eq!(bytes[60..64], [0, 0, 0, 77]);
    assert_eq!((image.pops, image.ttl_decrements, image.ttl_threshold), (1, 1, Some(1)));
    assert_eq!(image.pushes, [Some(Push { tpid: 0x88a8, tci: 9 }), None]);
    assert_eq!((image.outputs, image.tunnel), (0b11, Some(0)));
    assert_eq!((image.tun_dst, image.qfi), (Some([10, 0, 0, 2]), Some(0x89)));
    assert_eq!(image.to_host, None);
}

#[test]
fn an_entry_carries_its_match_and_a_mask_only_in_the_ternary_table() {
    let mut matching = MaskedKey::default();
    matching.constrain(Field::InPort, 3, 0xffff);
    let entry = Entry {
        id: EntryId(7),
        table: TableId(0),
        matching,
        edit: Arc::new(Edit { outputs: vec![PortNo(3)], ..Edit::default() }),
        ttl_threshold: None,
        from: Generation(4),
    };
    let mut encoder = encoder();
    let mut image = |kind| EntryImage::decode(encoder.entry(&entry, kind, 9).unwrap()).unwrap();
    let exact = image(TableKind::Exact);
    assert_eq!((exact.matching[..2].to_vec(), exact.mask), (vec![0, 3], [0; 64]));
    assert_eq!((exact.from, exact.until, exact.id, exact.counter), (4, u32::MAX, 7, 9));
    let ternary = image(TableKind::Ternary);
    assert_eq!(ternary.mask[..3], [0xff, 0xff, 0]);
    assert_eq!(image(TableKind::Exact), exact, "nothing stays of the one before");
}

#[test]
fn what_the_card_cannot_do_is_refused() {
    let refused = |change: &dyn Fn(&mut Edit)| {
        let mut edit = Edit::default();
        change(&mut edit);
        assert_eq!(encoder().edit(&edit, None).err(), Some(Refusal::Unsupported), "{edit:?}");
    };
    refused(&|edit| edit.controller = true);
    refused(&|edit| set(edit, Field::IpDst, 1, 1));
    refused(&|edit| set(edit, Field::TcpFlags, 1, 0xfff));
    refused(&|edit| set(edit, Field::InPort, 1, 0xffff));
    refused(&|edit| set(edit, Field::VlanTci, 1, 0xfff));
    refused(&|edit| set(edit, Field::FlowLabel, 1, 0xf_ffff));
    refused(&|edit| set(edit, Field::TunDst, 1, 0xff));
    refused(&|edit| edit.pops = 3);
    refused(&|edit| edit.pushes = vec![Tag { tpid: 0x8100, tci: 1 }; 3]);
    refused(&|edit| edit.outputs = vec![PortNo(3), PortNo(3)]);
    refused(&|edit| edit.outputs = vec![PortNo(4)]);
    refused(&|edit| edit.outputs = vec![PortNo(12), PortNo(12)]);
    // The card sends into tunnels last: on the tunnel's own wire the order would be wrong.
    refused(&|edit| edit.outputs = vec![PortNo(12), PortNo(5)]);
    refused(&|edit| edit.ttl_decrements = 5);
    let weak = Encoder::new(&ports(), action::ALL & !action::PUSH, 4);
    let edit = Edit { pushes: vec![Tag { tpid: 0x8100, tci: 1 }], ..Edit::default() };
    assert_eq!(weak.edit(&edit, None).err(), Some(Refusal::Unsupported));
    let order = Edit { outputs: vec![PortNo(12), PortNo(3)], ..Edit::default() };
    assert!(encoder().edit(&order, None).is_ok(), "another wire: no order to keep");
}

#[test]
fn a_match_on_the_second_key_line_is_refused() {
    let matching = MaskedKey::new(&Key::ZERO, Key::ZERO.with(Field::TunSrc, 0xffff_ffff));
    let entry = Entry {
        id: EntryId(1),
        table: TableId(0),
        matching,
        edit: Arc::new(Edit::default()),
        ttl_threshold: None,
        from: Generation(0),
    };
    let mut encoder = encoder();
    let result = encoder.entry(&entry, TableKind::Ternary, 0);
    assert_eq!(result.err(), Some(Refusal::Unsupported));
}

#[test]
fn capabilities_name_the_fields_that_encoding_takes() {
    let (set_fields, bit_fields) = settable();
    for field in &set_fields {
        let mut edit = Edit::default();
        set(&mut edit, *field, 0, field.full_mask());
        assert!(encoder().edit(&edit, None).is_ok(), "{field:?}");
    }
    assert_eq!(bit_fields, [Field::IpTos]);
    assert!(!set_fields.contains(&Field::TcpFlags) && !set_fields.contains(&Field::VlanTci));
}

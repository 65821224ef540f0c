//! Entries forward in the device, exactly; everything else comes to the host whole.

use crate::rig::{And, PORTS, Rig, frame, from, ipv4, set, to};
use std::sync::Arc;
use twinpath_flow::card::{EntryId, FlowOp, Refusal};
use twinpath_flow::edit::{Edit, Tag};
use twinpath_flow::field::Field;
use twinpath_flow::key::MaskedKey;

const TYPE: u16 = 0x9999;
/// Tag present, VLAN 5.
const VLAN_5: u128 = 0x1005;

#[test]
fn without_entries_every_frame_comes_to_the_host_whole() {
    let mut rig = Rig::new();
    let links: [&[u16]; 9] = [
        &[TYPE],
        &[0x8100, 5, TYPE],
        &[0x8100, 0xe005, TYPE],
        &[0x8100, 0, TYPE],
        &[0x8100, 0x8000, TYPE],
        &[0x8100, 0x1fff, TYPE],
        &[0x88a8, 5, TYPE],
        &[0x88a8, 0x0fff, 0x8100, 5, TYPE],
        &[0x8100, 5, 0x8100, 6, TYPE],
    ];
    for link in links {
        let frame = frame(2, 1, link, &[]);
        assert_eq!(rig.pass(10, &frame), (vec![], vec![frame]), "{link:x?}");
    }
}

#[test]
fn the_reserved_vlan_alone_is_lost() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    assert_eq!(rig.pass(10, &frame(2, 1, &[0x8100, 0x0fff, TYPE], &[])), (vec![], vec![]));
}

#[test]
fn an_entry_without_a_vlan_takes_tagged_and_untagged_frames_as_they_are() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    let links: [&[u16]; 4] =
        [&[TYPE], &[0x8100, 5, TYPE], &[0x8100, 0xe000, TYPE], &[0x8100, 0, TYPE]];
    for link in links {
        let frame = frame(2, 1, link, &[]);
        assert_eq!(rig.pass(10, &frame), (vec![(20, frame)], vec![]), "{link:x?}");
    }
    let other = frame(2, 1, &[TYPE], &[]);
    assert_eq!(rig.pass(30, &other).1.len(), 1, "another port");
}

#[test]
fn a_bridging_entry_takes_its_vlan_and_address_with_any_priority() {
    let mut rig = Rig::new();
    let matching =
        from(10).and_bits(Field::VlanTci, VLAN_5, 0x1fff).and(Field::EthDst, 0x0200_0000_0002);
    rig.add(1, matching, to(&[20])).unwrap();
    for (link, destination, hit) in [
        (&[0x8100, 5, TYPE][..], 2, true),
        (&[0x8100, 0xa005, TYPE], 2, true),
        (&[0x8100, 5, TYPE], 3, false),
        (&[0x8100, 6, TYPE], 2, false),
        (&[TYPE], 2, false),
        (&[0x88a8, 5, TYPE], 2, false),
    ] {
        let frame = frame(destination, 1, link, &[]);
        let (sent, misses) = rig.pass(10, &frame);
        assert_eq!((sent.len(), misses.len()), if hit { (1, 0) } else { (0, 1) }, "{link:x?}");
    }
}

#[test]
fn an_entry_for_untagged_frames_leaves_service_tags_to_the_host() {
    let mut rig = Rig::new();
    rig.add(1, from(10).and(Field::VlanTci, 0), to(&[20])).unwrap();
    assert_eq!(rig.pass(10, &frame(2, 1, &[TYPE], &[])).0.len(), 1);
    let service = frame(2, 1, &[0x88a8, 5, TYPE], &[]);
    assert_eq!(rig.pass(10, &service), (vec![], vec![service.clone()]));
    let zero = frame(2, 1, &[0x8100, 0, TYPE], &[]);
    assert_eq!(rig.pass(10, &zero), (vec![], vec![zero.clone()]));
}

#[test]
fn an_entry_for_all_tagged_frames_does_not_take_untagged_ones() {
    let mut rig = Rig::new();
    rig.add(1, from(10).and_bits(Field::VlanTci, 0x1000, 0x1000), to(&[20])).unwrap();
    let untagged = frame(2, 1, &[TYPE], &[]);
    assert_eq!(rig.pass(10, &untagged), (vec![], vec![untagged.clone()]));
    let tagged = frame(2, 1, &[0x8100, 77, TYPE], &[]);
    assert_eq!(rig.pass(10, &tagged), (vec![(20, tagged)], vec![]));
    // One for untagged frames goes before the first one's shadow.
    rig.add(2, from(10).and(Field::VlanTci, 0), to(&[30])).unwrap();
    assert_eq!(rig.pass(10, &untagged), (vec![(30, untagged)], vec![]));
}

#[test]
fn several_outputs_go_in_order_and_a_drop_goes_nowhere() {
    let mut rig = Rig::new();
    rig.add(1, from(10).and(Field::EthType, 0x9999), to(&[30, 20])).unwrap();
    rig.add(2, MaskedKey::default().and(Field::EthType, 0x0806), Edit::default()).unwrap();
    let tagged = frame(2, 1, &[0x8100, 5, TYPE], &[]);
    let both = vec![(30, tagged.clone()), (20, tagged.clone())];
    assert_eq!(rig.pass(10, &tagged), (both, vec![]));
    for port in PORTS {
        assert_eq!(rig.pass(port, &frame(2, 1, &[0x0806], &[])), (vec![], vec![]));
    }
}

#[test]
fn addresses_are_rewritten_with_and_without_a_tag() {
    let mut rig = Rig::new();
    let edit = set(to(&[20, 30]), Field::EthDst, 0x0200_0000_0099);
    let edit = set(edit, Field::EthSrc, 0x0200_0000_0077);
    rig.add(1, from(10), edit).unwrap();
    for link in [&[TYPE][..], &[0x8100, 0x6005, TYPE]] {
        let wanted = frame(0x99, 0x77, link, &[]);
        let both = vec![(20, wanted.clone()), (30, wanted)];
        assert_eq!(rig.pass(10, &frame(2, 1, link, &[])), (both, vec![]), "{link:x?}");
    }
}

#[test]
fn a_tag_is_pushed_on_untagged_frames_and_others_stay_with_the_host() {
    let mut rig = Rig::new();
    let edit = Edit { pushes: vec![Tag { tpid: 0x8100, tci: 100 }], ..to(&[20]) };
    rig.add(1, from(10), set(edit, Field::EthSrc, 0x0200_0000_0077)).unwrap();
    let plain = frame(2, 1, &[TYPE], &[]);
    let mut wanted = plain.clone();
    wanted.splice(12..12, [0x81, 0, 0, 100]);
    wanted[11] = 0x77;
    assert_eq!(rig.pass(10, &plain), (vec![(20, wanted)], vec![]));
    let tagged = frame(2, 1, &[0x8100, 5, TYPE], &[]);
    assert_eq!(rig.pass(10, &tagged), (vec![], vec![tagged.clone()]));
}

#[test]
fn the_outer_tag_is_popped_and_the_inner_one_stays() {
    let mut rig = Rig::new();
    let matching = from(10).and_bits(Field::VlanTci, VLAN_5, 0x1fff);
    rig.add(1, matching, Edit { pops: 1, ..to(&[20]) }).unwrap();
    for inner in [&[TYPE][..], &[0x8100, 9, TYPE]] {
        let link = [&[0x8100, 0x2005], inner].concat();
        let tagged = frame(2, 1, &link, &[]);
        let mut wanted = tagged.clone();
        wanted.drain(12..16);
        assert_eq!(rig.pass(10, &tagged), (vec![(20, wanted)], vec![]), "{link:x?}");
    }
}

#[test]
fn protocol_and_dscp_of_ipv4_are_compared_at_their_places() {
    let mut rig = Rig::new();
    let matching = from(10).and(Field::EthType, 0x0800).and(Field::IpProto, 17).and_bits(
        Field::IpTos,
        0xb8,
        0xfc,
    );
    rig.add(1, matching, to(&[20])).unwrap();
    for (protocol, tos, hit) in
        [(17, 0xb8, true), (17, 0xbb, true), (6, 0xb8, false), (17, 0x88, false)]
    {
        let packet = frame(2, 1, &[0x0800], &ipv4(protocol, tos, 40));
        assert_eq!(rig.pass(10, &packet).0.len(), usize::from(hit), "{protocol} {tos:#x}");
    }
}

#[test]
fn a_changed_edit_takes_effect_and_leaves_no_group_behind() {
    let mut rig = Rig::new();
    let standing = rig.device.holds();
    rig.add(1, from(10), set(to(&[20, 30]), Field::EthSrc, 7)).unwrap();
    rig.add(2, from(20), set(to(&[30]), Field::EthSrc, 7)).unwrap();
    let edit = Arc::new(to(&[30]));
    rig.operate(|tag| FlowOp::Modify { tag, id: EntryId(1), edit, ttl_threshold: None }).unwrap();
    let plain = frame(2, 1, &[TYPE], &[]);
    assert_eq!(rig.pass(10, &plain), (vec![(30, plain.clone())], vec![]));
    rig.delete(1).unwrap();
    assert_eq!(rig.pass(10, &plain), (vec![], vec![plain.clone()]));
    rig.delete(2).unwrap();
    let left = rig.device.holds();
    assert_eq!(left, standing);
    assert_eq!(rig.delete(2), Err(Refusal::NoEntry));
}

#[test]
fn pushing_vlan_1_shares_its_interface_with_frames_that_keep_their_tags() {
    let mut rig = Rig::new();
    rig.add(1, from(10), to(&[20])).unwrap();
    let push = Edit { pushes: vec![Tag { tpid: 0x8100, tci: 1 }], ..to(&[20]) };
    rig.add(2, from(30), push).unwrap();
    rig.delete(1).unwrap();
    let (sent, _) = rig.pass(30, &frame(2, 1, &[TYPE], &[]));
    assert_eq!(sent[0].1[12..16], [0x81, 0, 0, 1]);
}

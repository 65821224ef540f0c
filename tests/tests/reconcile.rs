//! Entries that vanish from the card, are altered or appear in it behind the driver's back are found
//! by reading it back, each once, and orphans are taken out.

use twinpath_abi::entry::EntryImage;
use twinpath_flow::card::{EntryId, Found, TableId};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey};
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_hw_sim::Profile;
use twinpath_tests::bench_card::{BenchCard, Planting};

const BANK: TableId = TableId(0);

fn ports() -> PortTable {
    let port = |number| Port { mtu_in: 1514, ..Port::physical(number) };
    PortTable::new(vec![port(1), port(2)]).expect("two ports")
}

fn matching(address: u32) -> MaskedKey {
    let key = Key::ZERO.with(Field::InPort, 1).with(Field::IpDst, address.into());
    MaskedKey::new(&key, Key::ZERO.with(Field::InPort, 0xffff).with(Field::IpDst, 0xffff_ffff))
}

/// A card with 40 entries in a bank and 5 in the ternary table.
fn filled() -> (BenchCard, Vec<EntryId>) {
    let mut card = BenchCard::new(Profile::named("small").expect("a profile"), &ports());
    card.set_mask(BANK, &matching(0)).expect("the bank is empty");
    let ternary = card.ternary();
    let edit = || Edit { outputs: vec![PortNo(2)], ..Edit::default() };
    let ids = (0..45)
        .map(|i| if i < 40 { (BANK, i) } else { (ternary, i) })
        .map(|(table, i)| card.add(table, matching(i), edit(), None).expect("there is room"))
        .collect();
    (card, ids)
}

/// Every entry the card holds: table, place, image.
fn entries(card: &mut BenchCard) -> Vec<(TableId, u32, EntryImage)> {
    let mut found = Vec::new();
    for (table, (_, places)) in (0..).map(TableId).zip(card.geometry()) {
        for place in 0..places {
            if let Some(image) = card.read_entry(table, place) {
                found.push((table, place, EntryImage::decode(&image).expect("an entry")));
            }
        }
    }
    found
}

fn id(image: &EntryImage) -> EntryId {
    EntryId(image.id)
}

#[test]
fn what_is_as_written_is_left_alone() {
    let (mut card, ids) = filled();
    assert_eq!(card.inspect_all(), []);
    assert_eq!(card.missing_in_sweep(), []);
    card.delete(ids[3]).expect("it is there");
    card.delete(ids[42]).expect("it is there");
    assert_eq!(card.inspect_all(), []);
    assert_eq!(entries(&mut card).len(), 43);
}

#[test]
fn an_entry_that_vanished_is_found_by_a_sweep_and_by_reading_back() {
    let (mut card, _) = filled();
    let held = entries(&mut card);
    let lost: Vec<_> = [7, 42].map(|i| id(&held[i].2)).to_vec();
    for (table, place, image) in [&held[7], &held[42]] {
        card.lose(*table, *place, id(image));
    }
    let mut wanted = lost.clone();
    wanted.sort_unstable();
    assert_eq!(card.missing_in_sweep(), wanted);
    let found = card.inspect_all();
    assert_eq!(found, lost.iter().map(|id| Found::Missing(*id)).collect::<Vec<_>>());
    // The host takes them out of its books.
    for id in lost {
        assert!(card.delete(id).is_err(), "it was not there");
    }
    assert_eq!((card.inspect_all(), card.missing_in_sweep()), (vec![], vec![]));
}

#[test]
fn an_orphan_is_taken_out_and_an_altered_entry_is_named() {
    let (mut card, _) = filled();
    let held = entries(&mut card);
    let (ternary, last) = (card.ternary(), card.geometry().last().expect("ternary").1 - 1);
    let (_, _, taken) = held[44].clone();
    let orphan = EntryImage { id: 9_999, counter: taken.counter + 50, ..taken };
    card.plant(ternary, last, &orphan, Planting::New);
    let (table, place, image) = held[5].clone();
    let mut altered = image.clone();
    altered.edit.outputs = 1;
    card.plant(table, place, &altered, Planting::Over);
    assert_eq!(entries(&mut card).len(), 46, "both were planted");
    let wanted = [Found::Differs(id(&image)), Found::Orphan(EntryId(9_999))];
    assert_eq!(card.inspect_all(), wanted);
    assert_eq!(entries(&mut card).len(), 45, "the orphan is gone");
    card.delete(id(&image)).expect("it is there, if altered");
    assert_eq!(card.inspect_all(), []);
}

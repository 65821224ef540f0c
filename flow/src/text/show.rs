//! Flows for people: matches, steps and edits in the style of `dpctl/dump-flows`.

use super::spelling::spell;
use super::spelling_actions::{ActionSpeller, controller, push_vlan};
use crate::edit::Edit;
use crate::field::{FIELDS, Field};
use crate::key::MaskedKey;
use crate::port::PortTable;
use crate::steps::{Flow, Step};

/// The match of a flow: `tcp,in_port=1,nw_src=10.0.0.0/8`; `any` when it matches everything.
#[must_use]
pub fn match_text(matching: &MaskedKey, names: Option<&PortTable>) -> String {
    or_word(spell(matching, (0, 0), names), "any")
}

/// The steps of a flow as an action list: `set_field:…,push_vlan:0x8100,output:2`; `drop` when
/// there are none.
#[must_use]
pub fn steps_text(flow: &Flow, names: Option<&PortTable>) -> String {
    let speller = ActionSpeller { matching: &flow.matching, names };
    let mut items = Vec::new();
    for step in &flow.steps {
        match *step {
            Step::Set { field, value, mask } => {
                speller.set_field(field, (value, mask), &mut items);
            }
            Step::PushVlan(tpid) => items.push(push_vlan(tpid)),
            Step::PopVlan => items.push("pop_vlan".to_owned()),
            Step::DecTtl => items.push("dec_ttl".to_owned()),
            Step::Output(port) => items.push(speller.output(port)),
            Step::Controller { max_len } => items.push(controller(max_len)),
        }
    }
    or_word(items, "drop")
}

/// An edit as an action list, in its order of application; `matching` is its flow's.
#[must_use]
pub fn edit_text(edit: &Edit, matching: &MaskedKey, names: Option<&PortTable>) -> String {
    let speller = ActionSpeller { matching, names };
    let mut items = vec!["dec_ttl".to_owned(); usize::from(edit.ttl_decrements)];
    for spec in &FIELDS {
        let mask = edit.set_mask.get(spec.field);
        if mask != 0 {
            let bits = (edit.set_value.get(spec.field), mask);
            let mut sets = Vec::new();
            speller.set_field(spec.field, bits, &mut sets);
            // A set TTL comes before its decrements.
            let place = if spec.field == Field::IpTtl { 0 } else { items.len() };
            items.splice(place..place, sets);
        }
    }
    items.extend(vec!["pop_vlan".to_owned(); usize::from(edit.pops)]);
    let set_tag = |items: &mut Vec<String>, value: u16, mask: u16| {
        speller.set_field(Field::VlanTci, (value.into(), mask.into()), items);
    };
    if edit.tci.1 != 0 {
        set_tag(&mut items, edit.tci.0, edit.tci.1);
    }
    for tag in &edit.pushes {
        items.push(push_vlan(tag.tpid));
        if tag.tci != 0 {
            set_tag(&mut items, tag.tci, 0xefff);
        }
    }
    items.extend(edit.outputs.iter().map(|port| speller.output(*port)));
    if edit.controller {
        items.push(controller(u16::MAX));
    }
    or_word(items, "drop")
}

fn or_word(items: Vec<String>, word: &str) -> String {
    if items.is_empty() { word.to_owned() } else { items.join(",") }
}

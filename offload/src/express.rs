//! Whether a card can express a flow: its edit, and the places where it could be.

use crate::match_index::digest;
use crate::table::{Mask, Spot, Table};
use crate::why::{ActionLack, WhyNot};
use std::sync::Arc;
use twinpath_flow::card::{ActionCaps, TableId, TableKind};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::{FIELDS, Field, Spec};
use twinpath_flow::key::{Key, Line};
use twinpath_flow::port::{PortKind, PortTable};
use twinpath_flow::steps::Flow;

/// Folds the flow's steps and checks that the card can do them.
pub(crate) fn judge(flow: &Flow, can: &ActionCaps, ports: &PortTable) -> Result<Arc<Edit>, WhyNot> {
    let edit = Edit::fold(flow).map_err(WhyNot::NotFoldable)?;
    lack_of_edit(&edit, can)
        .or_else(|| lack_of_hairpin(flow, &edit, can))
        .or_else(|| lack_of_outputs(&edit, can, ports))
        .map_or_else(|| Ok(Arc::new(edit)), |lack| Err(WhyNot::ActionNotSupported(lack)))
}

fn lack_of_edit(edit: &Edit, can: &ActionCaps) -> Option<ActionLack> {
    if let Some(lack) = FIELDS.iter().find_map(|spec| lack_of_set(spec, edit, can)) {
        return Some(lack);
    }
    if edit.ttl_decrements > can.ttl_decrements {
        return Some(ActionLack::TtlDecrements(edit.ttl_decrements));
    }
    if edit.pops > can.pops {
        return Some(ActionLack::Pops(edit.pops));
    }
    if edit.pushes.len() > usize::from(can.pushes) {
        return Some(ActionLack::Pushes(u8::try_from(edit.pushes.len()).unwrap_or(u8::MAX)));
    }
    (edit.tci.1 != 0 && !can.tci).then_some(ActionLack::Tci)
}

fn lack_of_set(spec: &Spec, edit: &Edit, can: &ActionCaps) -> Option<ActionLack> {
    let bits = edit.set_mask.get(spec.field);
    if bits == 0 {
        return None;
    }
    if !can.set.contains(&spec.field) {
        return Some(ActionLack::Set(spec.field));
    }
    let whole_bytes = bits.to_be_bytes().iter().all(|byte| matches!(byte, 0 | 0xff));
    let whole = whole_bytes || bits == spec.field.full_mask();
    (!whole && !can.bit_fields.contains(&spec.field)).then_some(ActionLack::MaskedSet(spec.field))
}

/// A flow that sends anywhere has its in-port in its mask, since that decides what is sent.
fn lack_of_hairpin(flow: &Flow, edit: &Edit, can: &ActionCaps) -> Option<ActionLack> {
    let in_port = flow.matching.value.get(Field::InPort);
    let returns = edit.outputs.iter().any(|port| u128::from(port.0) == in_port);
    (returns && !can.hairpin).then_some(ActionLack::Hairpin)
}

fn lack_of_outputs(edit: &Edit, can: &ActionCaps, ports: &PortTable) -> Option<ActionLack> {
    if edit.controller {
        return Some(ActionLack::Controller);
    }
    let (mut physical, mut tunnels) = (0, 0);
    // Frames that leave by one wire keep their order only if there is one per wire.
    let mut wires = Vec::with_capacity(edit.outputs.len());
    for number in &edit.outputs {
        let wire = match ports.find(*number).map(|port| &port.kind) {
            None => return Some(ActionLack::UnknownPort(*number)),
            Some(PortKind::Physical) => {
                physical += 1;
                *number
            }
            Some(PortKind::Tunnel(tunnel)) => {
                tunnels += 1;
                tunnel.over
            }
        };
        if wires.contains(&wire) {
            return Some(ActionLack::RepeatedOutput(wire));
        }
        wires.push(wire);
    }
    if physical > u32::from(can.outputs) {
        return Some(ActionLack::Outputs(physical));
    }
    (tunnels > u32::from(can.tunnel_outputs)).then_some(ActionLack::TunnelOutputs(tunnels))
}

/// Where a flow could be, best first.
#[derive(Debug, Default)]
pub(crate) struct Spots {
    pub(crate) found: Vec<Spot>,
    /// A bank that would take it is having its mask set.
    pub(crate) mask_under_way: bool,
    /// Banks could match its fields and have no mask yet.
    pub(crate) unmasked: bool,
}

/// The places in `tables` for `flow`, or for its packets with `key`.
///
/// An exact bank with the flow's own mask comes first, then one with more bits (which takes only
/// packets like `key`), the ternary table last: it is small. `spare` is memory for them.
pub(crate) fn spots(
    flow: &Flow,
    key: Option<&Key>,
    tables: &[Table],
    spare: Vec<Spot>,
) -> Result<Spots, WhyNot> {
    let mask = &flow.matching.mask;
    if !mask.tail.is_zero()
        && let Some(field) = first_field(&Key { head: Line::ZERO, tail: mask.tail })
    {
        return Err(WhyNot::FieldNotOffered(field));
    }
    let key = key.filter(|key| flow.matching.matches(key));
    let mut spots = Spots { found: spare, ..Spots::default() };
    spots.found.clear();
    let (mut missing, mut wants_packet) = (None, false);
    for (id, table) in (0..).map(TableId).zip(tables) {
        if !mask.head.is_subset_of(&table.caps.fields) {
            missing = missing.or_else(|| first_lacking(&mask.head, &table.caps.fields));
            continue;
        }
        let own = || {
            let digest = digest(&flow.matching.value.head, &mask.head);
            Spot { table: id, whole: true, digest }
        };
        match (table.caps.kind, &table.mask) {
            (TableKind::Ternary, _) => spots.found.push(own()),
            (TableKind::Exact, Mask::None) => spots.unmasked = true,
            (TableKind::Exact, Mask::Wanted(bank)) => {
                spots.mask_under_way |= mask.head.is_subset_of(bank);
            }
            (TableKind::Exact, Mask::Draining(_) | Mask::Refused) => {}
            (TableKind::Exact, Mask::Set(bank)) if *bank == mask.head => {
                spots.found.push(own());
            }
            (TableKind::Exact, Mask::Set(bank)) => {
                let covered = mask.head.is_subset_of(bank);
                wants_packet |= covered && key.is_none();
                if let Some(key) = key.filter(|_| covered) {
                    let digest = digest(&key.head.and(bank), bank);
                    spots.found.push(Spot { table: id, whole: false, digest });
                }
            }
        }
    }
    if spots.found.is_empty() && !spots.unmasked && !spots.mask_under_way {
        let covered = |table: &Table| mask.head.is_subset_of(&table.caps.fields);
        return Err(match missing.filter(|_| !tables.iter().any(covered)) {
            Some(field) => WhyNot::FieldNotOffered(field),
            None if wants_packet => WhyNot::NoPacketSeen,
            None => WhyNot::NoBank,
        });
    }
    let rank = |spot: &Spot| match (spot.whole, tables[usize::from(spot.table.0)].caps.kind) {
        (true, TableKind::Exact) => 0,
        (false, _) => 1,
        (true, TableKind::Ternary) => 2,
    };
    spots.found.sort_by_key(rank);
    Ok(spots)
}

/// The first field with a bit set.
fn first_field(mask: &Key) -> Option<Field> {
    FIELDS.iter().map(|spec| spec.field).find(|field| mask.get(*field) != 0)
}

/// The first field with a bit in `mask` that is not in `fields`.
fn first_lacking(mask: &Line, fields: &Line) -> Option<Field> {
    let mut lacking = *mask;
    for (bits, offered) in lacking.0.iter_mut().zip(fields.0) {
        *bits &= !offered;
    }
    first_field(&Key { head: lacking, tail: Line::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::key::MaskedKey;
    use twinpath_flow::port::{Port, PortNo};
    use twinpath_flow::steps::Step;

    #[test]
    fn a_flow_back_to_its_input_port_needs_a_card_that_does_it() {
        let port = |number| Port { mtu_in: 1514, ..Port::physical(number) };
        let ports = PortTable::new(vec![port(1), port(2)]).unwrap();
        let mut matching = MaskedKey::default();
        matching.constrain(Field::InPort, 1, 0xffff);
        let to = |number| Flow {
            matching,
            steps: vec![Step::Output(PortNo(number))],
            ttl_threshold: None,
            rules: Vec::new(),
        };
        let straight = ActionCaps { outputs: 2, ..ActionCaps::default() };
        let lack = WhyNot::ActionNotSupported(ActionLack::Hairpin);
        assert_eq!(judge(&to(1), &straight, &ports), Err(lack));
        assert!(judge(&to(2), &straight, &ports).is_ok());
        assert!(judge(&to(1), &ActionCaps { hairpin: true, ..straight }, &ports).is_ok());
    }
}

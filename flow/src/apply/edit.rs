//! What an [`Edit`] does to a packet: the meaning that cards and the fast path must have.

use super::Packet;
use crate::edit::Edit;
use crate::field::{FIELDS, Field};
use crate::key::VLAN_PRESENT;

impl Packet {
    /// Applies an edit, in its documented order: TTL, masked sets, pops, tag rewrite, pushes.
    ///
    /// Headers that are cut off keep their bytes, as with single steps. Outputs change nothing.
    pub fn apply_edit(&mut self, edit: &Edit) {
        self.edit_ttl(edit);
        for spec in FIELDS.iter().filter(|spec| spec.field != Field::IpTtl) {
            let mask = edit.set_mask.get(spec.field);
            if mask != 0 {
                self.overwrite(spec.field, edit.set_value.get(spec.field), mask);
            }
        }
        for _ in 0..edit.pops {
            self.pop_vlan();
        }
        let (tci, mask) = edit.tci;
        if mask != 0 && self.key.get(Field::VlanTci) != 0 {
            self.overwrite(Field::VlanTci, u128::from(tci), u128::from(mask));
        }
        for tag in &edit.pushes {
            self.push_vlan(tag.tpid);
            let tci = u128::from(tag.tci | VLAN_PRESENT);
            self.overwrite(Field::VlanTci, tci, 0xffff);
        }
    }

    fn edit_ttl(&mut self, edit: &Edit) {
        let mask = edit.set_mask.get(Field::IpTtl);
        if mask != 0 {
            self.overwrite(Field::IpTtl, edit.set_value.get(Field::IpTtl), mask);
        }
        if edit.ttl_decrements > 0 {
            let ttl = self.key.get(Field::IpTtl);
            let left = ttl.saturating_sub(u128::from(edit.ttl_decrements));
            self.overwrite(Field::IpTtl, left, 0xff);
        }
    }

    fn overwrite(&mut self, field: Field, value: u128, mask: u128) {
        self.write(field, value, mask);
        self.key.set(field, (self.key.get(field) & !mask) | (value & mask));
        self.carry(field);
    }
}

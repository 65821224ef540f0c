//! Entries and edits of the host as the card's images; what the card cannot do is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use twinpath_abi::capability::action;
use twinpath_abi::entry::{
    Distinction, ENTRY_BYTES, EditImage, EntryImage, FOREVER, NO_ENTRY, POPS_MAX, PUSHES_MAX, Push,
    SETTABLE_BYTES,
};
use twinpath_abi::key::{KEY_BYTES, KeyBytes};
use twinpath_flow::card::{Entry, Refusal, TableKind};
use twinpath_flow::edit::Edit;
use twinpath_flow::field::{FIELDS, Field};
use twinpath_flow::key::{Key, Line};
use twinpath_flow::port::{PortNo, PortTable};

/// Key bytes of the outer tag and of the type of service: written by bit masks of their own.
const BIT_BYTES: [usize; 3] = [4, 5, 7];

/// Where an output number leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Egress {
    /// Physical port, by the card's index.
    Physical(u8),
    /// Tunnel, by the card's index; it rides over this physical port.
    Tunnel(u16, PortNo),
}

/// What encoding needs to know of the card: its actions, and ports as it counts them: physical
/// ports and tunnels, each from 0 in the order of the port table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoder {
    egresses: BTreeMap<PortNo, Egress>,
    /// Action bits, [`action`].
    actions: u32,
    ttl_decrements: u8,
    /// The edit encoded last, with its threshold: entries that come together mostly share it.
    last: Option<Encoded>,
}

/// An edit with its threshold, and the image of an entry that has it.
#[derive(Clone, Debug)]
struct Encoded {
    edit: Arc<Edit>,
    ttl_threshold: Option<u8>,
    image: [u8; ENTRY_BYTES],
}

impl Encoder {
    /// For a port table whose sizes the card's capabilities allow.
    pub(crate) fn new(ports: &PortTable, actions: u32, ttl_decrements: u8) -> Self {
        let physical = (0..).zip(ports.physical()).map(|(i, p)| (p.number, Egress::Physical(i)));
        let tunnels = (0..).zip(ports.tunnels()).map(|(i, (n, t))| (n, Egress::Tunnel(i, t.over)));
        let egresses = physical.chain(tunnels).collect();
        Self { egresses, actions, ttl_decrements, last: None }
    }

    /// The card's image of an entry that counts at index `counter`; it stays until the next.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] when the card cannot match or do it.
    pub(crate) fn entry(
        &mut self,
        entry: &Entry,
        kind: TableKind,
        counter: u32,
    ) -> Result<&[u8; ENTRY_BYTES], Refusal> {
        if entry.matching.uses_tail() || entry.id.0 == NO_ENTRY {
            return Err(Refusal::Unsupported);
        }
        let mask = match kind {
            TableKind::Exact => &[0; KEY_BYTES],
            TableKind::Ternary => &entry.matching.mask.head.0,
        };
        let matching = &entry.matching.value.head.0;
        let (from, id) = (entry.from.0, entry.id.0);
        let image = self.shared(&entry.edit, entry.ttl_threshold)?;
        EntryImage::rewrite(image, &Distinction { matching, mask, from, id, counter });
        Ok(image)
    }

    /// The image made last.
    ///
    /// # Panics
    /// When there is none: the caller has just made one.
    pub(crate) fn last(&self) -> &[u8; ENTRY_BYTES] {
        &self.last.as_ref().expect("one was just made").image
    }

    /// The image of an entry with this edit, which other entries have too.
    fn shared(
        &mut self,
        edit: &Arc<Edit>,
        ttl_threshold: Option<u8>,
    ) -> Result<&mut [u8; ENTRY_BYTES], Refusal> {
        let is_it =
            |last: &Encoded| Arc::ptr_eq(&last.edit, edit) && last.ttl_threshold == ttl_threshold;
        if !self.last.as_ref().is_some_and(is_it) {
            let (image, set) = self.edit(edit, ttl_threshold)?;
            let (matching, mask) = ([0; KEY_BYTES], [0; KEY_BYTES]);
            let (from, until, id, counter) = (0, FOREVER, 0, 0);
            let entry = EntryImage { matching, mask, set, edit: image, from, until, id, counter };
            let (edit, image) = (Arc::clone(edit), entry.encode());
            self.last = Some(Encoded { edit, ttl_threshold, image });
        }
        Ok(&mut self.last.as_mut().expect("just made, if it was not there").image)
    }

    /// The card's image of an edit, and its set values in key layout.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] when the card cannot do it.
    pub(crate) fn edit(
        &self,
        edit: &Edit,
        ttl_threshold: Option<u8>,
    ) -> Result<(EditImage, KeyBytes), Refusal> {
        if edit.controller || edit.pushes.len() > PUSHES_MAX || edit.pops > POPS_MAX {
            return Err(Refusal::Unsupported);
        }
        let mut set = edit.set_value.head.0;
        let byte_mask = byte_mask(&edit.set_mask.head)?;
        let (tci, tci_mask) = edit.tci;
        set[4..6].copy_from_slice(&(tci & tci_mask).to_be_bytes());
        let mut pushes = [None; PUSHES_MAX];
        for (push, tag) in pushes.iter_mut().zip(&edit.pushes) {
            *push = Some(Push { tpid: tag.tpid, tci: tag.tci });
        }
        let mut image = EditImage {
            byte_mask,
            tos_mask: edit.set_mask.head.0[7],
            tci_mask,
            ttl_decrements: edit.ttl_decrements,
            ttl_threshold,
            pops: edit.pops,
            pushes,
            ..EditImage::default()
        };
        carried(edit, &mut image)?;
        self.outputs(&edit.outputs, &mut image)?;
        self.check(&image)?;
        Ok((image, set))
    }

    /// Refuses what the card says it cannot do.
    fn check(&self, image: &EditImage) -> Result<(), Refusal> {
        let needs = [
            (image.byte_mask != 0, action::SET),
            (image.tos_mask != 0, action::TOS),
            (image.tci_mask != 0, action::TCI),
            (image.ttl_decrements > 0 || image.ttl_threshold.is_some(), action::TTL),
            (image.pops > 0, action::POP),
            (image.pushes[0].is_some(), action::PUSH),
            (image.outputs.count_ones() > 1, action::MULTI),
            (image.tunnel.is_some(), action::TUNNEL),
        ];
        let needed = needs.iter().filter(|(used, _)| *used).fold(0, |bits, (_, bit)| bits | bit);
        if needed & !self.actions == 0 && image.ttl_decrements <= self.ttl_decrements {
            Ok(())
        } else {
            Err(Refusal::Unsupported)
        }
    }

    /// Outputs: the card sends to physical ports, each once, then into one tunnel.
    fn outputs(&self, ports: &[PortNo], image: &mut EditImage) -> Result<(), Refusal> {
        let mut carrier = None;
        for port in ports {
            match self.egresses.get(port).ok_or(Refusal::Unsupported)? {
                Egress::Physical(index) => {
                    let bit = 1_u64.checked_shl(u32::from(*index)).ok_or(Refusal::Unsupported)?;
                    // After the tunnel's frame on the same wire the plain one would be out of order.
                    if image.outputs & bit != 0 || carrier == Some(*port) {
                        return Err(Refusal::Unsupported);
                    }
                    image.outputs |= bit;
                }
                Egress::Tunnel(index, over) => {
                    if image.tunnel.is_some() {
                        return Err(Refusal::Unsupported);
                    }
                    image.tunnel = Some(*index);
                    carrier = Some(*over);
                }
            }
        }
        Ok(())
    }
}

/// Bytes written by masked sets of line 1. The card writes whole bytes only.
fn byte_mask(mask: &Line) -> Result<u64, Refusal> {
    let mut bytes = 0;
    for (index, byte) in mask.0.iter().enumerate() {
        match byte {
            0 => {}
            _ if index == 7 => {}
            0xff if SETTABLE_BYTES >> index & 1 == 1 && !BIT_BYTES.contains(&index) => {
                bytes |= 1 << index;
            }
            _ => return Err(Refusal::Unsupported),
        }
    }
    Ok(bytes)
}

/// Values of line 2 that go with the packet to a tunnel; other fields there cannot be written.
fn carried(edit: &Edit, image: &mut EditImage) -> Result<(), Refusal> {
    let mut known = Key::ZERO;
    for field in [Field::TunDst, Field::Qfi] {
        match edit.set_mask.get(field) {
            0 => continue,
            mask if mask == field.full_mask() => known.set(field, mask),
            _ => return Err(Refusal::Unsupported),
        }
        let value = edit.set_value.get(field).to_be_bytes();
        if field == Field::Qfi {
            image.qfi = Some(value[15]);
        } else {
            image.tun_dst = Some([value[12], value[13], value[14], value[15]]);
        }
    }
    if edit.set_mask.tail == known.tail { Ok(()) } else { Err(Refusal::Unsupported) }
}

/// Fields that the card's sets can write, and those of them whose single bits it can.
pub(crate) fn settable() -> (Vec<Field>, Vec<Field>) {
    let bytes = |field: Field| field.spec().offset..field.spec().offset + field.spec().width;
    let in_bytes = |field: &Field| bytes(*field).all(|byte| SETTABLE_BYTES >> byte & 1 == 1);
    let carried = [Field::TunDst, Field::Qfi];
    let set = FIELDS
        .iter()
        .map(|spec| spec.field)
        .filter(|field| field.in_line_1() && (in_bytes(field) || *field == Field::IpTos))
        .chain(carried)
        .collect();
    (set, vec![Field::IpTos])
}

#[cfg(test)]
mod tests;

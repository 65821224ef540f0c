//! Entries to flows of the device: one for untagged frames, one for tagged ones.
//!
//! A flow of the device never matches a packet that the entry does not. It may match fewer: the
//! others are misses, as before. What cannot be said that way is refused.
//!
//! Untagged frames carry the internal tag within the device, so a flow for tagged frames that does
//! not compare the VLAN would match them too. The flow for untagged ones ranks above it; when the
//! entry has none, a shadow takes its place and sends them to the host.

use super::capabilities;
use super::group::{Exit, Group, GroupId, Interface, NewMac, Rewrite, Target};
use super::port::{PortMap, Pport};
use super::rule::{AclMatch, Cookie, Ipv4Match, Masked, Rank, Rule, TypeMatch};
use super::settings::Settings;
use super::tlv::Writer;
use super::vlan::{INTERNAL, Leaving, NewVlan};
use twinpath_flow::card::Refusal;
use twinpath_flow::edit::Edit;
use twinpath_flow::field::Field;
use twinpath_flow::key::{Key, MaskedKey, VLAN_PRESENT};
use twinpath_flow::port::{Mac, PortNo, PortTable};

/// TCI bits of the key that are bits of the frame; the present bit stands in the place of DEI.
const FRAME_BITS: u16 = !VLAN_PRESENT;
/// Ethertypes below are lengths (IEEE 802.3) to the device, and nothing of the sort in a key.
const TYPE_MIN: u16 = 0x0600;
/// VLAN tags: the device looks behind one of the first kind only.
const VLAN_TYPES: [u16; 2] = [0x8100, 0x88a8];
const TYPE_IPV4: u16 = 0x0800;

/// A flow to install, with where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Priority.
    pub rank: Rank,
    /// Match.
    pub matching: AclMatch,
    /// Group; `None` drops.
    pub group: Option<Group>,
}

impl Part {
    /// Bytes that are the same for the same flow and groups, whatever their keys.
    pub(crate) fn image(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let nowhere = GroupId::NOWHERE;
        let rule = Rule::Acl { rank: self.rank, matching: self.matching, group: nowhere };
        rule.write(Cookie(0), &mut writer);
        let (label, members) = match &self.group {
            None => return writer.into_bytes(),
            Some(Group::Exit(exit)) => (None, std::slice::from_ref(exit)),
            Some(Group::Flood { leaving, members }) => (Some(leaving.label()), &members[..]),
        };
        writer.double(0, label.map_or(u32::MAX, u32::from));
        for exit in members {
            exit.interface().write(&mut writer);
            if let Exit::Rewritten(rewrite) = exit {
                rewrite.write(nowhere, &mut writer);
            }
        }
        writer.into_bytes()
    }
}

/// What entries are translated against.
#[derive(Debug)]
pub(crate) struct Translator {
    /// Ports of the device.
    pub map: PortMap,
    /// All ports.
    pub ports: PortTable,
    /// Settings.
    pub settings: Settings,
}

/// What happens to the outer tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TagEdit {
    Keep,
    Pop,
    Push(NewVlan),
}

/// Which frames the key's VLAN bits admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tags {
    untagged: bool,
    /// TCI of the tagged frames, DEI not compared.
    tagged: Option<Masked<u16>>,
}

/// The group that sends every frame without a tag to the host.
pub(crate) const fn to_host(leaving: Leaving) -> Group {
    Group::Exit(Exit::Plain(Interface { target: Target::Host, leaving }))
}

/// The internal tag, all 16 bits: what untagged frames carry.
pub(crate) const UNTAGGED: Masked<u16> = Masked { value: INTERNAL, mask: 0xffff };

impl Translator {
    /// The flows of an entry, in the order in which to add them.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] when the device would do something else to some packet.
    pub(crate) fn parts(&self, matching: &MaskedKey, edit: &Edit) -> Result<Vec<Part>, Refusal> {
        let offered = capabilities::offered(&self.settings);
        if !matching.mask.is_subset_of(&offered) || !is_plain(edit) {
            return Err(Refusal::Unsupported);
        }
        let tags = tags(matching);
        let tag_edit = tag_edit(edit, tags)?;
        let base = self.base(matching)?;
        if tags.untagged && base.ethertype == TypeMatch::Any && self.may_carry_tunnels(base.in_port)
        {
            // A tunnel's packet in an 802.2 frame would pass the guard, which sees Ethertypes.
            return Err(Refusal::Unsupported);
        }
        let outputs = self.outputs(base.in_port, edit)?;
        let part = |rank, tci, leaving| {
            let group = group(&outputs, leaving, edit)?;
            Ok(Part { rank, matching: AclMatch { tci, ..base }, group })
        };
        let mut parts = Vec::with_capacity(2);
        if tags.untagged {
            let leaving = match tag_edit {
                TagEdit::Push(vlan) => Leaving::Tagged(vlan),
                TagEdit::Keep | TagEdit::Pop => Leaving::Stripped,
            };
            parts.push(part(Rank::Untagged, UNTAGGED, leaving)?);
        }
        let Some(tci) = tags.tagged else { return Ok(parts) };
        let leaving = match tag_edit {
            TagEdit::Keep => Leaving::Carried,
            TagEdit::Pop => Leaving::Stripped,
            // A second tag is beyond the device: tagged frames stay misses.
            TagEdit::Push(_) => return Ok(parts),
        };
        if !tags.untagged && INTERNAL & tci.mask == tci.value {
            let matching = AclMatch { tci: UNTAGGED, ..base };
            let group = Some(to_host(Leaving::Stripped));
            parts.push(Part { rank: Rank::Shadow, matching, group });
        }
        parts.push(part(Rank::Tagged, tci, leaving)?);
        Ok(parts)
    }

    /// The match without the tag.
    fn base(&self, matching: &MaskedKey) -> Result<AclMatch, Refusal> {
        Ok(AclMatch {
            in_port: self.in_port(matching)?,
            tci: Masked::default(),
            source: mac(matching, Field::EthSrc),
            destination: mac(matching, Field::EthDst),
            ethertype: ethertype(matching)?,
        })
    }

    fn in_port(&self, matching: &MaskedKey) -> Result<Option<Pport>, Refusal> {
        let port = match word(&matching.mask, Field::InPort) {
            0 => return Ok(None),
            0xffff => PortNo(word(&matching.value, Field::InPort)),
            _ => return Err(Refusal::Unsupported),
        };
        self.map.find(port).map(Some).ok_or(Refusal::Unsupported)
    }

    fn may_carry_tunnels(&self, in_port: Option<Pport>) -> bool {
        let over = |tunnel: PortNo| self.map.find(tunnel);
        self.ports
            .tunnels()
            .any(|(_, tunnel)| in_port.is_none_or(|port| over(tunnel.over) == Some(port)))
    }

    /// The ports to send to.
    ///
    /// The device never sends a frame back to where it came from and knows no limit of length, so
    /// both must be excluded.
    fn outputs(&self, in_port: Option<Pport>, edit: &Edit) -> Result<Vec<Pport>, Refusal> {
        let mut outputs: Vec<Pport> = Vec::with_capacity(edit.outputs.len());
        for number in &edit.outputs {
            let port = self.map.find(*number).ok_or(Refusal::Unsupported)?;
            let elsewhere = in_port.is_some_and(|from| from != port);
            if !elsewhere || outputs.contains(&port) || self.limits(*number) {
                return Err(Refusal::Unsupported);
            }
            outputs.push(port);
        }
        Ok(outputs)
    }

    /// Whether frames too long for a port could come to it.
    fn limits(&self, number: PortNo) -> bool {
        let longest = self.ports.physical().map(|port| u32::from(port.mtu_in)).max().unwrap_or(0);
        let limit = self.ports.find(number).and_then(|port| port.mtu_out);
        // A pushed tag makes them 4 bytes longer.
        limit.is_some_and(|limit| u32::from(limit) < longest + 4)
    }
}

/// Whether nothing but addresses, the outer tag and physical outputs is concerned.
fn is_plain(edit: &Edit) -> bool {
    let mut rest = edit.set_mask;
    for field in [Field::EthSrc, Field::EthDst] {
        // Addresses are written whole.
        let mask = edit.set_mask.get(field);
        if mask != 0 && mask != field.full_mask() {
            return false;
        }
        rest.set(field, 0);
    }
    rest == Key::ZERO && edit.ttl_decrements == 0 && edit.tci.1 == 0 && !edit.controller
}

fn tags(matching: &MaskedKey) -> Tags {
    let (value, mask) =
        (word(&matching.value, Field::VlanTci), word(&matching.mask, Field::VlanTci));
    // An untagged frame's TCI is all zeros in the key.
    let untagged = value == 0;
    let tagged = mask & VLAN_PRESENT == 0 || value & VLAN_PRESENT != 0;
    let tci = Masked { value: value & FRAME_BITS, mask: mask & FRAME_BITS };
    Tags { untagged, tagged: tagged.then_some(tci) }
}

fn tag_edit(edit: &Edit, tags: Tags) -> Result<TagEdit, Refusal> {
    match (edit.pops, edit.pushes.as_slice()) {
        (0, []) => Ok(TagEdit::Keep),
        (1, []) if !tags.untagged => Ok(TagEdit::Pop),
        (0, [tag]) if tags.untagged && tag.tpid == VLAN_TYPES[0] => {
            NewVlan::new(tag.tci).map(TagEdit::Push).ok_or(Refusal::Unsupported)
        }
        _ => Err(Refusal::Unsupported),
    }
}

/// The device reads a type behind one 0x8100 tag, a key behind two tags of either kind and behind
/// SNAP. They agree on whole Ethertypes that are no tags.
fn ethertype(matching: &MaskedKey) -> Result<TypeMatch, Refusal> {
    let value = word(&matching.value, Field::EthType);
    let header =
        Ipv4Match { protocol: byte(matching, Field::IpProto), tos: byte(matching, Field::IpTos) };
    let looks_inside = header.protocol.mask != 0 || header.tos.mask != 0;
    match word(&matching.mask, Field::EthType) {
        0 if !looks_inside => Ok(TypeMatch::Any),
        0xffff if value == TYPE_IPV4 && looks_inside => Ok(TypeMatch::Ipv4(header)),
        0xffff if value >= TYPE_MIN && !VLAN_TYPES.contains(&value) && !looks_inside => {
            Ok(TypeMatch::Exactly(value))
        }
        _ => Err(Refusal::Unsupported),
    }
}

/// The group that sends to `outputs`.
fn group(outputs: &[Pport], leaving: Leaving, edit: &Edit) -> Result<Option<Group>, Refusal> {
    let source = new_mac(edit, Field::EthSrc)?;
    let destination = new_mac(edit, Field::EthDst)?;
    let rewrites =
        source.is_some() || destination.is_some() || matches!(leaving, Leaving::Tagged(_));
    let exit = |port: &Pport| {
        let interface = Interface { target: Target::Port(*port), leaving };
        if rewrites {
            Exit::Rewritten(Rewrite { source, destination, interface })
        } else {
            Exit::Plain(interface)
        }
    };
    Ok(match outputs {
        [] => None,
        [port] => Some(Group::Exit(exit(port))),
        ports => Some(Group::Flood { leaving, members: ports.iter().map(exit).collect() }),
    })
}

fn new_mac(edit: &Edit, field: Field) -> Result<Option<NewMac>, Refusal> {
    if edit.set_mask.get(field) == 0 {
        return Ok(None);
    }
    NewMac::new(mac_of(&edit.set_value, field)).map(Some).ok_or(Refusal::Unsupported)
}

fn mac(matching: &MaskedKey, field: Field) -> Masked<Mac> {
    Masked { value: mac_of(&matching.value, field), mask: mac_of(&matching.mask, field) }
}

fn mac_of(key: &Key, field: Field) -> Mac {
    let [.., a, b, c, d, e, f] = key.get(field).to_be_bytes();
    [a, b, c, d, e, f]
}

fn byte(matching: &MaskedKey, field: Field) -> Masked<u8> {
    let low = |key: &Key| key.get(field).to_be_bytes()[15];
    Masked { value: low(&matching.value), mask: low(&matching.mask) }
}

fn word(key: &Key, field: Field) -> u16 {
    let [.., high, low] = key.get(field).to_be_bytes();
    u16::from_be_bytes([high, low])
}

//! Reads the match of a rule or packet.

use super::error::{Doubt, Problem};
use super::fields::{self, FieldWord, Form, SHORTHANDS};
use super::items::{Fault, Item};
use super::values::Masked;
use crate::check::Prerequisite;
use crate::field::Field;
use crate::key::VLAN_PRESENT;
use crate::port::{PortNo, PortTable};
use crate::rule::Match;

const PRESENT: u128 = VLAN_PRESENT as u128;

/// A field whose prerequisite is looked at when the whole match is known.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    word: &'static FieldWord,
    bits: Masked,
    at: usize,
}

/// Collects the fields of one match.
#[derive(Debug)]
pub(super) struct MatchReader<'a> {
    ports: &'a PortTable,
    matching: Match,
    deferred: Vec<Deferred>,
}

impl<'a> MatchReader<'a> {
    pub(super) fn new(ports: &'a PortTable) -> Self {
        Self { ports, matching: Match::default(), deferred: Vec::new() }
    }

    /// Takes an item if it is a field or shorthand; `Ok(false)` if it is neither.
    pub(super) fn take(&mut self, item: &Item<'_>) -> Result<bool, Fault> {
        if let Some((_, eth, proto)) = SHORTHANDS.iter().find(|(name, ..)| *name == item.word) {
            item.need_no_value()?;
            self.set(Field::EthType, 0xffff, (*eth, 0xffff));
            if let Some(proto) = proto {
                let word = fields::find("nw_proto").expect("nw_proto is a field word");
                self.deferred.push(Deferred { word, bits: (*proto, 0xff), at: item.at });
            }
            return Ok(true);
        }
        let Some(word) = fields::find(item.word) else {
            return Ok(false);
        };
        let text = item.need_value(word.expected())?;
        let bits = match word.form {
            Form::Port => (u128::from(find_port(item, text, self.ports)?.0), 0xffff),
            Form::Vid if super::values::number(text) == Some(0xffff) => (0, PRESENT | 0xfff),
            _ => word.read(text).ok_or_else(|| item.bad_value(word.expected()))?,
        };
        if word.form == Form::Metadata {
            let low = |bits: u128| u64::try_from(bits).expect("read within 64 bits");
            (self.matching.metadata, self.matching.metadata_mask) = (low(bits.0), low(bits.1));
        } else if word.needs == Prerequisite::Nothing {
            self.set(word.field, word.scope(), bits);
            self.check_tag(item)?;
        } else {
            self.deferred.push(Deferred { word, bits, at: item.at });
        }
        Ok(true)
    }

    /// The match, and the fields that do not count.
    pub(super) fn finish(mut self) -> Result<(Match, Vec<Doubt>), Fault> {
        let mut doubts = Vec::new();
        let mut deferred = std::mem::take(&mut self.deferred);
        deferred.sort_by_key(|field| stage(field.word.needs));
        for Deferred { word, bits, at } in deferred {
            if word.needs.holds(&self.matching.key) {
                self.set(word.field, word.scope(), bits);
            } else if bits.1 == 0 {
                // A field that is not compared needs nothing.
            } else if stage(word.needs) > 1 && self.matching.key.value.get(Field::IpFrag) & 2 != 0 {
                return Err(Fault::new(at, Problem::LaterFragment { word: word.name }));
            } else {
                doubts.push(Doubt::Ignored { field: word.name, needs: word.needs.words() });
            }
        }
        let key = &mut self.matching.key;
        if key.value.get(Field::VlanTci) == 0 && key.mask.get(Field::VlanTci) & PRESENT != 0 {
            // No tag is one bit of a frame, whatever vid and priority the rule spells out.
            key.mask.set(Field::VlanTci, PRESENT);
        }
        Ok((self.matching, doubts))
    }

    /// Sets a part of a field anew: what an earlier word said of these bits is forgotten.
    fn set(&mut self, field: Field, scope: u128, (value, mask): Masked) {
        let key = &mut self.matching.key;
        key.value.set(field, key.value.get(field) & !scope);
        key.mask.set(field, key.mask.get(field) & !scope);
        key.constrain(field, value, mask);
    }

    /// A frame without a tag has no priority.
    fn check_tag(&self, item: &Item<'_>) -> Result<(), Fault> {
        let value = self.matching.key.value.get(Field::VlanTci);
        if value & PRESENT == 0 && value & 0xe000 != 0 {
            return Err(item.bad_value("bit 0x1000, a tag, in a value with a priority"));
        }
        Ok(())
    }
}

/// Order in which prerequisites become decidable.
const fn stage(needs: Prerequisite) -> u8 {
    match needs {
        Prerequisite::Nothing | Prerequisite::IpOrArp | Prerequisite::Vlan => 0,
        Prerequisite::Ipv4
        | Prerequisite::Ipv6
        | Prerequisite::Ip
        | Prerequisite::Arp
        | Prerequisite::Ipv4OrArp
        | Prerequisite::Mpls => 1,
        Prerequisite::Tcp
        | Prerequisite::Udp
        | Prerequisite::Sctp
        | Prerequisite::Icmp
        | Prerequisite::Icmpv6
        | Prerequisite::Ports
        | Prerequisite::Layer4 => 2,
        Prerequisite::Nd | Prerequisite::NdSolicit | Prerequisite::NdAdvert => 3,
    }
}

/// A port by number or name.
pub(super) fn find_port(item: &Item<'_>, text: &str, ports: &PortTable) -> Result<PortNo, Fault> {
    let at = if item.value.is_some() { item.value_at } else { item.at };
    let reserved = ["local", "normal", "any", "none", "in_port", "all", "flood", "controller"];
    let found = match super::values::number(text) {
        Some(number) => u16::try_from(number).ok().and_then(|number| ports.find(PortNo(number))),
        None => ports.by_name(text),
    };
    match found {
        Some(port) => Ok(port.number),
        None if reserved.iter().any(|word| text.eq_ignore_ascii_case(word)) => {
            Err(Fault::new(at, Problem::NotYet { word: text.to_owned() }))
        }
        None => {
            let known: Vec<_> =
                ports.iter().map(|port| format!("{} ({})", port.number.0, port.name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(Fault::new(at, Problem::AbsentPort { word: text.to_owned(), known }))
        }
    }
}

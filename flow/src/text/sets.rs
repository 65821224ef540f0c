//! Reads the actions that write fields: `set_field` and the `mod_*` aliases.

use super::actions::{ActionReader, List};
use super::error::Problem;
use super::fields::{self, Form};
use super::items::{Fault, Item, nearest};
use super::values::{self, Masked};
use crate::action::Action;
use crate::check::{CheckError, Prerequisite};
use crate::field::Field;

/// `mod_*` actions that write one field word; `mod_tp_*` and VLAN ones are apart.
const MODIFIERS: [(&str, &str); 9] = [
    ("mod_dl_src", "dl_src"),
    ("mod_dl_dst", "dl_dst"),
    ("mod_nw_src", "nw_src"),
    ("mod_nw_dst", "nw_dst"),
    ("mod_nw_tos", "nw_tos"),
    ("mod_nw_ecn", "nw_ecn"),
    ("mod_nw_ttl", "nw_ttl"),
    ("set_tunnel", "tun_id"),
    ("set_tunnel64", "tun_id"),
];

/// The field word that a `mod_*` action writes.
pub(super) fn modified_field(action: &str) -> Option<&'static str> {
    MODIFIERS.iter().find(|(name, _)| *name == action).map(|(_, target)| *target)
}

impl<'a> ActionReader<'a> {
    pub(super) fn set_field(&mut self, item: &Item<'a>, list: List) -> Result<(), Fault> {
        let expected = "VALUE->FIELD or VALUE/MASK->FIELD";
        let text = item.need_value(expected)?;
        let (value, name) = text.split_once("->").ok_or_else(|| item.bad_value(expected))?;
        let name_at = item.value_at + value.len() + 2;
        let Some(word) = fields::find(name) else {
            let problem = if fields::is_not_yet(name) {
                Problem::NotYet { word: name.to_owned() }
            } else {
                let settable = fields::FIELD_WORDS.iter().filter(|word| word.set.is_some());
                let suggestion = nearest(name, settable.map(|word| word.name));
                Problem::UnknownField { word: name.to_owned(), suggestion }
            };
            return Err(Fault::new(name_at, problem));
        };
        let Some(needs) = word.set else {
            let problem = match word.form {
                Form::Metadata | Form::Port => Problem::NotYet { word: item.word_and(text) },
                _ if word.field == Field::MplsLse => Problem::NotYet { word: item.word_and(text) },
                _ => CheckError::ReadOnly { field: word.name }.into(),
            };
            return Err(Fault::new(name_at, problem));
        };
        let fault = || item.bad_value(format!("{} before ->{}", word.expected(), word.name));
        let mut bits = word.read(value).filter(|_| value != "*").ok_or_else(fault)?;
        match word.name {
            "nw_tos" if values::number(value).is_none_or(|tos| tos & 3 != 0) => {
                return Err(fault());
            }
            "vlan_vid" if bits.1 == 0x1fff && bits.0 & 0x1000 == 0 => {
                return Err(item.bad_value("bit 0x1000 set, as in 0x1005 for vid 5"));
            }
            // The present bit is needed, not written.
            "vlan_pcp" => bits = (bits.0 & 0xe000, 0xe000),
            // Bit 6 is 0 in every packet: written too, the whole field is, as cards can.
            "tun_qfi" if bits.1 == 0xbf => bits.1 = 0xff,
            _ => {}
        }
        self.need(needs, word.name, name_at)?;
        if bits.1 == 0 {
            return Ok(());
        }
        self.push_set(item, list, word.field, bits)
    }

    pub(super) fn modify(
        &mut self,
        item: &Item<'a>,
        list: List,
        target: &str,
    ) -> Result<(), Fault> {
        let word = fields::find(target).expect("modifiers name field words");
        let expected = word.expected();
        let text = item.need_value(expected.clone())?;
        let plain = !text.contains('/') && text != "*";
        let bits = word.read(text).filter(|_| plain).ok_or_else(|| item.bad_value(expected))?;
        if word.form == Form::Tos && values::number(text).is_some_and(|tos| tos & 3 != 0) {
            return Err(item.bad_value(word.expected()));
        }
        self.need(word.set.unwrap_or(Prerequisite::Nothing), word.name, item.at)?;
        self.push_set(item, list, word.field, bits)
    }

    pub(super) fn modify_port(
        &mut self,
        item: &Item<'a>,
        list: List,
        field: Field,
    ) -> Result<(), Fault> {
        let port = number_up_to(item, 0xffff)?;
        self.need(Prerequisite::Ports, field.spec().name, item.at)?;
        self.push_set(item, list, field, (port, 0xffff))
    }

    /// `mod_vlan_*` pushes a tag where the packet may have none; `set_vlan_*` does not.
    pub(super) fn modify_tag(
        &mut self,
        item: &Item<'a>,
        list: List,
        word: &str,
    ) -> Result<(), Fault> {
        let bits = if word.ends_with("vid") {
            (number_up_to(item, 0xfff)? | 0x1000, 0x1fff)
        } else {
            (number_up_to(item, 7)? << 13, 0xe000)
        };
        if word.starts_with("mod") && !self.checker.has_tag() {
            self.push(item, list, Action::PushVlan(0x8100))?;
        }
        self.push_set(item, list, Field::VlanTci, bits)
    }

    fn need(&self, needs: Prerequisite, what: &'static str, at: usize) -> Result<(), Fault> {
        let holds = match needs {
            Prerequisite::Vlan => self.checker.has_tag(),
            _ => needs.holds(self.checker.matching()),
        };
        if holds {
            return Ok(());
        }
        let error = CheckError::MissingPrerequisite { what, needs: needs.words() };
        Err(Fault::new(at, error.into()))
    }

    fn push_set(
        &mut self,
        item: &Item<'a>,
        list: List,
        field: Field,
        (value, mask): Masked,
    ) -> Result<(), Fault> {
        self.push(item, list, Action::SetField { field, value, mask })
    }
}

fn number_up_to(item: &Item<'_>, full: u128) -> Result<u128, Fault> {
    let expected = format!("a number from 0 to {full}");
    let text = item.need_value(expected.clone())?;
    values::number_within(text, full).ok_or_else(|| item.bad_value(expected))
}

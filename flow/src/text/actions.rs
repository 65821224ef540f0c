//! Reads an action list.

use super::error::Problem;
use super::items::{Fault, Item, Items, nearest};
use super::matching::find_port;
use super::sets::modified_field;
use super::values;
use crate::action::{Action, Instructions, OutPort};
use crate::check::{CheckError, Checker};
use crate::field::Field;
use crate::port::PortTable;

/// Actions that are implemented, besides port names and numbers.
const ACTIONS: [&str; 31] = [
    "output",
    "controller",
    "drop",
    "in_port",
    "all",
    "flood",
    "set_field",
    "mod_dl_src",
    "mod_dl_dst",
    "mod_nw_src",
    "mod_nw_dst",
    "mod_nw_tos",
    "mod_nw_ecn",
    "mod_nw_ttl",
    "mod_tp_src",
    "mod_tp_dst",
    "mod_vlan_vid",
    "mod_vlan_pcp",
    "set_vlan_vid",
    "set_vlan_pcp",
    "push_vlan",
    "pop_vlan",
    "strip_vlan",
    "dec_ttl",
    "set_tunnel",
    "set_tunnel64",
    "goto_table",
    "write_metadata",
    "write_actions",
    "clear_actions",
    "actions",
];

/// Actions of `ovs-ofctl` that are not.
const ACTIONS_NOT_YET: [&str; 40] = [
    "normal",
    "local",
    "table",
    "group",
    "meter",
    "ct",
    "ct_clear",
    "nat",
    "resubmit",
    "enqueue",
    "set_queue",
    "pop_queue",
    "push_mpls",
    "pop_mpls",
    "set_mpls_label",
    "set_mpls_tc",
    "set_mpls_ttl",
    "dec_mpls_ttl",
    "load",
    "move",
    "push",
    "pop",
    "learn",
    "conjunction",
    "clone",
    "note",
    "bundle",
    "bundle_load",
    "multipath",
    "sample",
    "exit",
    "check_pkt_larger",
    "fin_timeout",
    "delete_field",
    "encap",
    "decap",
    "dec_nsh_ttl",
    "apply_actions",
    "reg_load",
    "output_trunc",
];

/// OpenFlow's order of instructions; `ovs-ofctl` demands it of the text too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Apply,
    Clear,
    Write,
    Metadata,
    Goto,
}

impl Stage {
    const fn words(self) -> &'static str {
        match self {
            Self::Apply => "plain actions",
            Self::Clear => "clear_actions",
            Self::Write => "write_actions",
            Self::Metadata => "write_metadata",
            Self::Goto => "goto_table",
        }
    }
}

/// Which list an action stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Apply,
    Write,
}

/// Reads the actions of one rule.
#[derive(Debug)]
pub(super) struct ActionReader<'a> {
    line: &'a str,
    ports: &'a PortTable,
    table: u8,
    pub(super) checker: Checker,
    stage: Stage,
    instructions: Instructions,
}

impl<'a> ActionReader<'a> {
    pub(super) fn new(line: &'a str, ports: &'a PortTable, table: u8, checker: Checker) -> Self {
        let instructions = Instructions::default();
        Self { line, ports, table, checker, stage: Stage::Apply, instructions }
    }

    /// Reads `line[start..end]`.
    pub(super) fn read(mut self, start: usize, end: usize) -> Result<Instructions, Fault> {
        let items = Items::new(self.line, start, end).collect::<Result<Vec<_>, _>>()?;
        for item in &items {
            if item.word.eq_ignore_ascii_case("drop") {
                item.need_no_value()?;
                if items.len() > 1 {
                    return Err(Fault::new(item.at, Problem::DropNotAlone));
                }
                return Ok(self.instructions);
            }
            self.top_item(item)?;
        }
        Ok(self.instructions)
    }

    fn top_item(&mut self, item: &Item<'a>) -> Result<(), Fault> {
        match item.word.to_ascii_lowercase().as_str() {
            "clear_actions" => {
                item.need_no_value()?;
                self.enter(item, Stage::Clear)?;
                self.instructions.clear = true;
            }
            "write_actions" => {
                self.enter(item, Stage::Write)?;
                self.write_actions(item)?;
            }
            "write_metadata" => {
                self.enter(item, Stage::Metadata)?;
                let expected = "a 64-bit number, or VALUE/MASK";
                let bits = values::masked_number(item.need_value(expected)?, u64::MAX.into());
                let (value, mask) = bits.ok_or_else(|| item.bad_value(expected))?;
                let low = |bits: u128| u64::try_from(bits).expect("read within 64 bits");
                self.instructions.write_metadata = Some((low(value), low(mask)));
            }
            "goto_table" => {
                self.enter(item, Stage::Goto)?;
                self.goto_table(item)?;
            }
            _ => {
                self.enter(item, Stage::Apply)?;
                self.action(item, List::Apply)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, item: &Item<'_>, stage: Stage) -> Result<(), Fault> {
        let problem = if stage < self.stage {
            Problem::InstructionOrder { word: stage.words(), earlier: self.stage.words() }
        } else if stage == self.stage && stage != Stage::Apply {
            Problem::Twice { word: stage.words() }
        } else {
            self.stage = stage;
            return Ok(());
        };
        Err(Fault::new(item.at, problem))
    }

    fn write_actions(&mut self, item: &Item<'a>) -> Result<(), Fault> {
        let Some(list) = item.value else {
            let expected = "actions in parentheses".to_owned();
            let problem = Problem::MissingValue { word: item.word.to_owned(), expected };
            return Err(Fault::new(item.at, problem));
        };
        let end = item.value_at + list.len();
        let items = Items::new(self.line, item.value_at, end).collect::<Result<Vec<_>, _>>()?;
        for inner in &items {
            let place = "write_actions";
            match inner.word.to_ascii_lowercase().as_str() {
                "drop" if items.len() > 1 => {
                    return Err(Fault::new(inner.at, Problem::DropNotAlone));
                }
                "drop" => {}
                "clear_actions" | "write_actions" | "write_metadata" | "goto_table" => {
                    let problem = Problem::OutOfPlace { word: inner.word.to_owned(), place };
                    return Err(Fault::new(inner.at, problem));
                }
                _ => self.action(inner, List::Write)?,
            }
        }
        Ok(())
    }

    fn goto_table(&mut self, item: &Item<'_>) -> Result<(), Fault> {
        let expected = "a table from 0 to 254";
        let table = values::number_within(item.need_value(expected)?, 0xff)
            .and_then(|number| u8::try_from(number).ok())
            .filter(|table| *table < 255)
            .ok_or_else(|| item.bad_value(expected))?;
        if table <= self.table {
            let error = CheckError::GotoBackwards { from: self.table, to: table };
            return Err(Fault::new(item.value_at, error.into()));
        }
        self.instructions.goto_table = Some(table);
        Ok(())
    }

    fn action(&mut self, item: &Item<'a>, list: List) -> Result<(), Fault> {
        let word = item.word.to_ascii_lowercase();
        match word.as_str() {
            "output" => {
                let port = item.need_value("a port, in_port, all, flood or controller")?;
                let port = self.output_port(item, port)?;
                self.push(item, list, Action::Output(port))
            }
            "controller" => {
                let max_len = controller_length(self.line, item)?;
                self.push(item, list, Action::Output(OutPort::Controller { max_len }))
            }
            "in_port" | "all" | "flood" => {
                item.need_no_value()?;
                let port = self.output_port(item, &word)?;
                self.push(item, list, Action::Output(port))
            }
            "set_field" => self.set_field(item, list),
            "mod_tp_src" => self.modify_port(item, list, Field::L4Src),
            "mod_tp_dst" => self.modify_port(item, list, Field::L4Dst),
            "mod_vlan_vid" | "mod_vlan_pcp" | "set_vlan_vid" | "set_vlan_pcp" => {
                self.modify_tag(item, list, &word)
            }
            "push_vlan" => self.push_vlan(item, list),
            "pop_vlan" | "strip_vlan" => {
                item.need_no_value()?;
                self.push(item, list, Action::PopVlan)
            }
            "dec_ttl" => {
                if item.value.is_some_and(|value| !value.trim().is_empty()) {
                    let word = format!("dec_ttl({})", item.value.unwrap_or_default());
                    return Err(Fault::new(item.at, Problem::NotYet { word }));
                }
                self.push(item, list, Action::DecTtl)
            }
            _ => match modified_field(&word) {
                Some(target) => self.modify(item, list, target),
                None => self.bare_port(item, list, &word),
            },
        }
    }

    /// An action that is only a port number or name.
    fn bare_port(&mut self, item: &Item<'a>, list: List, word: &str) -> Result<(), Fault> {
        let is_number = values::number(item.word).is_some();
        if is_number || self.ports.by_name(item.word).is_some() {
            item.need_no_value()?;
            let port = self.output_port(item, item.word)?;
            return self.push(item, list, Action::Output(port));
        }
        let word = if ACTIONS_NOT_YET.contains(&word) {
            Problem::NotYet { word: item.word.to_owned() }
        } else {
            let suggestion = nearest(item.word, ACTIONS.into_iter());
            Problem::UnknownAction { word: item.word.to_owned(), suggestion }
        };
        Err(Fault::new(item.at, word))
    }

    fn output_port(&self, item: &Item<'_>, text: &str) -> Result<OutPort, Fault> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "in_port" => OutPort::InPort,
            "all" => OutPort::All,
            "flood" => OutPort::Flood,
            "controller" => OutPort::Controller { max_len: u16::MAX },
            _ if text.contains(['(', '[']) || text.contains("port=") => {
                let word = format!("output:{text}");
                return Err(Fault::new(item.at, Problem::NotYet { word }));
            }
            _ => OutPort::Number(find_port(item, text, self.ports)?),
        })
    }

    fn push_vlan(&mut self, item: &Item<'a>, list: List) -> Result<(), Fault> {
        let expected = "0x8100 or 0x88a8";
        let tpid = match values::number(item.need_value(expected)?) {
            Some(0x8100) => 0x8100,
            Some(0x88a8) => 0x88a8,
            _ => return Err(item.bad_value(expected)),
        };
        self.push(item, list, Action::PushVlan(tpid))
    }

    pub(super) fn push(
        &mut self,
        item: &Item<'_>,
        list: List,
        action: Action,
    ) -> Result<(), Fault> {
        self.checker.admit(&action).map_err(|error| Fault::new(item.at, error.into()))?;
        match list {
            List::Apply => self.instructions.apply.push(action),
            List::Write => self.instructions.write.push(action),
        }
        Ok(())
    }
}

/// `controller`, `controller:LENGTH` or `controller(max_len=LENGTH)`.
fn controller_length(line: &str, item: &Item<'_>) -> Result<u16, Fault> {
    let expected = "a length from 0 to 65535, or max_len=LENGTH in parentheses";
    let length = |text: &str| values::number(text).and_then(|number| u16::try_from(number).ok());
    let Some(text) = item.value.filter(|text| !text.is_empty()) else {
        return Ok(u16::MAX);
    };
    if values::number(text).is_some() {
        return length(text).ok_or_else(|| item.bad_value(expected));
    }
    let mut max_len = u16::MAX;
    for inner in Items::new(line, item.value_at, item.value_at + text.len()) {
        let inner = inner?;
        match (inner.word, inner.value) {
            ("max_len", Some(text)) => {
                max_len = length(text).ok_or_else(|| inner.bad_value(expected))?;
            }
            ("reason", Some("action")) | ("id", Some("0")) => {}
            ("reason" | "id" | "userdata" | "pause" | "meter_id", _) => {
                let word = format!("controller({})", inner.word);
                return Err(Fault::new(inner.at, Problem::NotYet { word }));
            }
            _ => return Err(item.bad_value(expected)),
        }
    }
    Ok(max_len)
}

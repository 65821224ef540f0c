//! Rules from text: `ovs-ofctl add-flow` syntax, one rule a line, `#` starts a comment.

use super::actions::ActionReader;
use super::error::{Doubt, ERROR_COUNT_MAX, Problem, TextError, TextWarning};
use super::fields;
use super::items::{Fault, Item, Items, nearest};
use super::matching::MatchReader;
use super::overlap;
use super::values;
use crate::check::Checker;
use crate::port::PortTable;
use crate::rule::{Match, PRIORITY_DEFAULT, Rule};

/// A rule read from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRule {
    /// The rule; [`Rule::check`] finds nothing wrong with it.
    pub rule: Rule,
    /// Its line, from 1.
    pub line: u32,
    /// What is doubtful about it.
    pub warnings: Vec<TextWarning>,
}

/// Settings beside the match.
const SETTINGS: [&str; 16] = [
    "table",
    "priority",
    "cookie",
    "idle_timeout",
    "hard_timeout",
    "importance",
    "send_flow_rem",
    "reset_counts",
    "duration",
    "n_packets",
    "n_bytes",
    "idle_age",
    "hard_age",
    "check_overlap",
    "no_packet_counts",
    "no_byte_counts",
];

/// Reads a file of rules. All or nothing: with one bad line only errors come back.
///
/// Port numbers and names are looked up in `ports`. Equal-priority overlaps get a warning on the
/// later rule.
///
/// # Errors
/// Every bad line, up to [`ERROR_COUNT_MAX`].
pub fn parse_rules(
    source_name: &str,
    text: &str,
    ports: &PortTable,
) -> Result<Vec<ParsedRule>, Vec<TextError>> {
    let mut rules = Vec::new();
    let mut errors = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.split('#').next().unwrap_or_default();
        if content.trim().is_empty() {
            continue;
        }
        match read_line(content, ports) {
            Ok((rule, doubts)) => {
                let warnings = warnings(source_name, number, doubts);
                rules.push(ParsedRule { rule, line: number, warnings });
            }
            Err(fault) if errors.len() < ERROR_COUNT_MAX => {
                errors.push(fault.in_line(source_name, line, number));
            }
            Err(fault) => {
                let fault = Fault::new(fault.at, Problem::TooMany);
                errors.push(fault.in_line(source_name, line, number));
                break;
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    overlap::warn(source_name, &mut rules);
    Ok(rules)
}

/// Reads one rule, as `rules add` gets it.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_rule(
    source_name: &str,
    text: &str,
    ports: &PortTable,
) -> Result<ParsedRule, TextError> {
    let (rule, doubts) =
        read_line(text, ports).map_err(|fault| fault.in_line(source_name, text, 1))?;
    Ok(ParsedRule { rule, line: 1, warnings: warnings(source_name, 1, doubts) })
}

fn warnings(source_name: &str, line: u32, doubts: Vec<Doubt>) -> Vec<TextWarning> {
    let warning = |doubt| TextWarning { source_name: source_name.to_owned(), line, doubt };
    doubts.into_iter().map(warning).collect()
}

fn read_line(line: &str, ports: &PortTable) -> Result<(Rule, Vec<Doubt>), Fault> {
    let start = skip_verb(line)?;
    // As ovs-ofctl: everything after the first "action" and the next "=" is the action list.
    let action = line[start..].find("action").map(|found| start + found);
    let Some((match_end, list)) =
        action.and_then(|at| line[at..].find('=').map(|equals| (at, at + equals + 1)))
    else {
        return Err(Fault::new(line.trim_end().len(), Problem::MissingActions));
    };
    let mut rule = empty_rule();
    let mut reader = MatchReader::new(ports);
    for item in Items::new(line, start, match_end) {
        let item = item?;
        if !(reader.take(&item)? || take_setting(&mut rule, &item)?) {
            return Err(unknown_word(&item));
        }
    }
    let (matching, doubts) = reader.finish()?;
    rule.matching = matching;
    let checker = Checker::new(&matching.key);
    rule.instructions =
        ActionReader::new(line, ports, rule.table, checker).read(list, line.len())?;
    Ok((rule, doubts))
}

const fn empty_rule() -> Rule {
    Rule {
        table: 0,
        priority: PRIORITY_DEFAULT,
        cookie: 0,
        matching: Match {
            key: crate::key::MaskedKey {
                value: crate::key::Key::ZERO,
                mask: crate::key::Key::ZERO,
            },
            metadata: 0,
            metadata_mask: 0,
        },
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        send_flow_rem: false,
        instructions: crate::action::Instructions {
            apply: Vec::new(),
            clear: false,
            write: Vec::new(),
            write_metadata: None,
            goto_table: None,
        },
    }
}

/// Skips the leading word `add`; the other words of `ovs-ofctl bundle` files have no place here.
fn skip_verb(line: &str) -> Result<usize, Fault> {
    let at = line.len() - line.trim_start().len();
    let word = line[at..].split_whitespace().next().unwrap_or_default();
    match word {
        "add" => Ok(at + word.len()),
        "modify" | "modify_strict" | "delete" | "delete_strict" => {
            let problem = Problem::OutOfPlace { word: word.to_owned(), place: "a list of rules" };
            Err(Fault::new(at, problem))
        }
        _ => Ok(at),
    }
}

/// The fault of a word that nobody took.
pub(super) fn unknown_word(item: &Item<'_>) -> Fault {
    let word = item.word.to_owned();
    let problem = if fields::is_not_yet(&word) {
        Problem::NotYet { word }
    } else {
        let known = fields::FIELD_WORDS.iter().map(|field| field.name);
        let known = known.chain(fields::SHORTHANDS.iter().map(|(name, ..)| *name));
        Problem::UnknownField { suggestion: nearest(&word, known.chain(SETTINGS)), word }
    };
    Fault::new(item.at, problem)
}

/// Takes a setting into `rule`; `Ok(false)` if the item is none.
fn take_setting(rule: &mut Rule, item: &Item<'_>) -> Result<bool, Fault> {
    match item.word {
        "table" => rule.table = read_table(item)?,
        "priority" => rule.priority = read_u16(item)?,
        "cookie" => rule.cookie = read_cookie(item)?,
        "idle_timeout" => rule.idle_timeout = read_u16(item)?,
        "hard_timeout" => rule.hard_timeout = read_u16(item)?,
        "importance" => rule.importance = read_u16(item)?,
        "send_flow_rem" => {
            item.need_no_value()?;
            rule.send_flow_rem = true;
        }
        // Statistics in dumps, so that dumps load again; and a flag without effect on a new rule.
        "duration" | "n_packets" | "n_bytes" | "idle_age" | "hard_age" | "reset_counts" => {}
        "check_overlap" | "no_packet_counts" | "no_byte_counts" => {
            return Err(Fault::new(item.at, Problem::NotYet { word: item.word.to_owned() }));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A table number.
pub(super) fn read_table(item: &Item<'_>) -> Result<u8, Fault> {
    let expected = "a table from 0 to 254";
    values::number_within(item.need_value(expected)?, 0xff)
        .and_then(|number| u8::try_from(number).ok())
        .filter(|table| *table < 255)
        .ok_or_else(|| item.bad_value(expected))
}

/// A 16-bit setting.
pub(super) fn read_u16(item: &Item<'_>) -> Result<u16, Fault> {
    let expected = "a number from 0 to 65535";
    values::number(item.need_value(expected)?)
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| item.bad_value(expected))
}

fn read_cookie(item: &Item<'_>) -> Result<u64, Fault> {
    let expected = "a 64-bit number";
    values::number(item.need_value(expected)?)
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| item.bad_value(expected))
}

#[cfg(test)]
mod tests;

//! What `rules del` deletes: the syntax of `ovs-ofctl del-flows`.

use super::error::TextError;
use super::items::{Fault, Items};
use super::matching::MatchReader;
use super::rules::{read_table, read_u16, unknown_word};
use super::values;
use crate::port::PortTable;
use crate::rule::{Match, PRIORITY_DEFAULT, Rule};

/// Which rules to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Only this table; `None` for all.
    pub table: Option<u8>,
    /// Only rules of exactly this priority and match (a leading word `strict`).
    pub strict_priority: Option<u16>,
    /// Cookie bits wanted and compared.
    pub cookie: (u64, u64),
    /// Rules at least as specific as this.
    pub matching: Match,
}

impl Selector {
    /// Whether the rule is selected.
    #[must_use]
    pub fn selects(&self, rule: &Rule) -> bool {
        if self.table.is_some_and(|table| table != rule.table)
            || (rule.cookie ^ self.cookie.0) & self.cookie.1 != 0
        {
            return false;
        }
        match self.strict_priority {
            Some(priority) => rule.priority == priority && rule.matching == self.matching,
            None => {
                let (wanted, has) = (&self.matching, &rule.matching);
                wanted.key.mask.is_subset_of(&has.key.mask)
                    && wanted.key.matches(&has.key.value)
                    && wanted.metadata_mask & !has.metadata_mask == 0
                    && has.metadata & wanted.metadata_mask == wanted.metadata
            }
        }
    }
}

/// Reads what `rules del` deletes: a match, `table=`, `cookie=V/M`; nothing selects every rule. A
/// leading word `strict` selects one rule by exact match and `priority=`.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_selector(
    source_name: &str,
    text: &str,
    ports: &PortTable,
) -> Result<Selector, TextError> {
    read(text, ports).map_err(|fault| fault.in_line(source_name, text, 1))
}

fn read(text: &str, ports: &PortTable) -> Result<Selector, Fault> {
    let mut selector =
        Selector { table: None, strict_priority: None, cookie: (0, 0), matching: Match::default() };
    let mut reader = MatchReader::new(ports);
    let mut strict = false;
    for (index, item) in Items::new(text, 0, text.len()).enumerate() {
        let item = item?;
        match item.word {
            "strict" if index == 0 => {
                strict = true;
                selector.strict_priority = Some(PRIORITY_DEFAULT);
            }
            "priority" if strict => selector.strict_priority = Some(read_u16(&item)?),
            "table" => selector.table = Some(read_table(&item)?),
            "cookie" => {
                let expected = "a 64-bit number, or VALUE/MASK";
                let bits = values::masked_number(item.need_value(expected)?, u64::MAX.into());
                let (value, mask) = bits.ok_or_else(|| item.bad_value(expected))?;
                let low = |bits: u128| u64::try_from(bits).expect("read within 64 bits");
                selector.cookie = (low(value), low(mask));
            }
            _ if reader.take(&item)? => {}
            _ => return Err(unknown_word(&item)),
        }
    }
    selector.matching = reader.finish()?.0;
    Ok(selector)
}

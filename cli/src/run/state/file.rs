//! The state file. Integers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TWINSTAT` |
//! | 4 | version, 1: a reader takes its own and lower ones |
//! | 4 × 4 | bytes of the run, bytes of the rules, number of rule counters, number of entry counters |
//! | 8 | check word of all that follows |
//! | | run: JSON, in which unknown keys are ignored and missing ones are 0 |
//! | | rules: JSON, likewise |
//! | 56 each | rule counters: id, flags (1 unknown in the card), card and software packets and bytes, created, last used |
//! | 20 each | entry counters: id, packets, bytes |
//!
//! It is written beside the old one and then takes its name, so that a killed process leaves the old or
//! the new one whole. It is not forced to disk: after a power cut the card is empty, and a torn file is
//! known by its check word.

use super::{RuleLists, Run, State, counts, pair};
use crate::run::explain::text_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinpath_flow::card::EntryId;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::PlacedRule;
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::RuleId;
use twinpath_flow::text::parse_rule;
use twinpath_flow::time::Time;
use twinpath_offload::adopt::{Accounts, RuleAccount};

const MAGIC: &[u8; 8] = b"TWINSTAT";
/// The version written, and the highest read.
pub(crate) const VERSION: u32 = 1;
const HEAD: usize = 8 + 4 + 16 + 8;
const RULE_BYTES: usize = 56;
const ENTRY_BYTES: usize = 20;
/// A rule that no packet has met.
const NEVER: u64 = u64::MAX;

/// The same bytes with a check word that fits, as who knows the format would forge them.
pub(crate) fn forge(bytes: &[u8]) -> Vec<u8> {
    let mut forged = bytes.to_vec();
    if forged.len() >= HEAD {
        let word = check(&forged[HEAD..]).to_le_bytes();
        forged[HEAD - 8..HEAD].copy_from_slice(&word);
    }
    forged
}

/// Why a state file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else's.
    #[error("{}: not a state file", .0.display())]
    Foreign(PathBuf),
    /// Of a version to come.
    #[error("{}: written by a newer twinpath (state version {version}, this one reads up to {VERSION})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Torn or changed.
    #[error("{}: damaged, its check word is wrong", .0.display())]
    Damaged(PathBuf),
    /// What is in it makes no sense here.
    #[error("{}: {what}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Rules as JSON has them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Lists {
    generation: u32,
    last_id: u32,
    rules: BTreeMap<u32, String>,
    in_force: Vec<u32>,
    pending: Option<Vec<u32>>,
    wanted: Vec<u32>,
}

/// The rules as bytes: made anew only when they have changed.
pub(crate) fn encode_rules(lists: &RuleLists) -> Vec<u8> {
    let ids = |rules: &[PlacedRule]| rules.iter().map(|placed| placed.id.0).collect();
    let all = [&lists.in_force[..], lists.pending.as_deref().unwrap_or_default(), &lists.wanted];
    let text = |placed: &PlacedRule| (placed.id.0, text_of(&placed.rule));
    let told = Lists {
        generation: lists.generation,
        last_id: lists.last_id,
        rules: all.into_iter().flatten().map(text).collect(),
        in_force: ids(&lists.in_force),
        pending: lists.pending.as_deref().map(ids),
        wanted: ids(&lists.wanted),
    };
    serde_json::to_vec(&told).expect("numbers and texts")
}

fn decode_rules(bytes: &[u8], ports: &PortTable) -> Result<RuleLists, String> {
    let told: Lists = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut rules = BTreeMap::new();
    for (id, text) in &told.rules {
        let parsed = parse_rule("state", text, ports).map_err(|error| error.to_string())?;
        rules.insert(*id, PlacedRule { id: RuleId(*id), rule: Arc::new(parsed.rule) });
    }
    let list = |ids: &[u32]| -> Result<Vec<PlacedRule>, String> {
        ids.iter()
            .map(|id| rules.get(id).cloned().ok_or_else(|| "a rule is missing".to_owned()))
            .collect()
    };
    Ok(RuleLists {
        generation: told.generation,
        in_force: list(&told.in_force)?,
        pending: told.pending.as_deref().map(list).transpose()?,
        wanted: list(&told.wanted)?,
        last_id: told.last_id.max(told.rules.keys().last().copied().unwrap_or(0)),
    })
}

/// A check word, of whole words for speed.
fn check(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mix =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let hash =
        words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

/// The file's bytes.
pub(crate) fn encode(run: &Run, rules: &[u8], accounts: &Accounts) -> Vec<u8> {
    let run = serde_json::to_vec(run).expect("numbers and texts");
    let small = |count: usize| u32::try_from(count).expect("far below 4 GiB").to_le_bytes();
    let mut bytes = Vec::with_capacity(
        HEAD + run.len()
            + rules.len()
            + accounts.rules.len() * RULE_BYTES
            + accounts.entries.len() * ENTRY_BYTES,
    );
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    for count in [run.len(), rules.len(), accounts.rules.len(), accounts.entries.len()] {
        bytes.extend_from_slice(&small(count));
    }
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&run);
    bytes.extend_from_slice(rules);
    for account in &accounts.rules {
        let flags = u32::from(account.card_unknown);
        bytes.extend_from_slice(&account.id.0.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        let (card, software) = (account.card, account.software);
        let last_used = account.last_used.map_or(NEVER, |time| time.0);
        let words = [
            card.packets,
            card.bytes,
            software.packets,
            software.bytes,
            account.created.0,
            last_used,
        ];
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    }
    for (id, counted) in &accounts.entries {
        bytes.extend_from_slice(&id.0.to_le_bytes());
        bytes.extend_from_slice(&counted.packets.to_le_bytes());
        bytes.extend_from_slice(&counted.bytes.to_le_bytes());
    }
    let word = check(&bytes[HEAD..]);
    bytes[HEAD - 8..HEAD].copy_from_slice(&word.to_le_bytes());
    bytes
}

/// Takes the file's place with these bytes.
///
/// # Errors
/// [`StateError::System`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let system = |source| StateError::System { path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, bytes).map_err(system)?;
    fs::rename(&beside, path).map_err(system)
}

/// Reads the file; `None` when there is none.
///
/// # Errors
/// [`StateError`].
pub(crate) fn read(path: &Path, ports: &PortTable) -> Result<Option<State>, StateError> {
    match fs::read(path) {
        Ok(bytes) => decode(path, &bytes, ports).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::System { path: path.to_owned(), source }),
    }
}

/// Reads the file's bytes.
///
/// # Errors
/// [`StateError`].
pub(crate) fn decode(path: &Path, bytes: &[u8], ports: &PortTable) -> Result<State, StateError> {
    let owned = || path.to_owned();
    if bytes.len() < HEAD || !bytes.starts_with(MAGIC) {
        return Err(StateError::Foreign(owned()));
    }
    let version = word32(bytes, 8);
    if version > VERSION || version == 0 {
        return Err(StateError::Newer { path: owned(), version });
    }
    let [run, rules, rule_count, entry_count] =
        [12, 16, 20, 24].map(|at| word32(bytes, at) as usize);
    let sizes = [run, rules, rule_count * RULE_BYTES, entry_count * ENTRY_BYTES];
    let whole = HEAD + sizes.iter().sum::<usize>() == bytes.len();
    if !whole || check(&bytes[HEAD..]) != word64(bytes, HEAD - 8) {
        return Err(StateError::Damaged(owned()));
    }
    let mut at = HEAD;
    let [run, rules, rule_counts, entry_counts] = sizes.map(|size| {
        at += size;
        &bytes[at - size..at]
    });
    let contents = |what: String| StateError::Contents { path: owned(), what };
    let run: Run = serde_json::from_slice(run).map_err(|error| contents(error.to_string()))?;
    let rules = decode_rules(rules, ports).map_err(contents)?;
    let accounts = Accounts {
        rules: rule_counts.chunks_exact(RULE_BYTES).map(rule_account).collect(),
        entries: entry_counts.chunks_exact(ENTRY_BYTES).map(entry_account).collect(),
        card: counts(run.flows[0]),
        software: counts(run.flows[1]),
        card_dropped: counts(run.flows[2]),
        card_unknown: run.card_unknown,
        gap: run.gap.map(|(from, until)| (Time(from), Time(until))),
    };
    Ok(State { run, rules, accounts })
}

fn rule_account(bytes: &[u8]) -> RuleAccount {
    let word = |index: usize| word64(bytes, 8 + 8 * index);
    RuleAccount {
        id: RuleId(word32(bytes, 0)),
        card: Counts { packets: word(0), bytes: word(1) },
        card_unknown: word32(bytes, 4) & 1 != 0,
        software: Counts { packets: word(2), bytes: word(3) },
        created: Time(word(4)),
        last_used: Some(word(5)).filter(|time| *time != NEVER).map(Time),
    }
}

fn entry_account(bytes: &[u8]) -> (EntryId, Counts) {
    let counts = Counts { packets: word64(bytes, 4), bytes: word64(bytes, 12) };
    (EntryId(word32(bytes, 0)), counts)
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Totals of `accounts` into a run.
pub(crate) fn put_totals(run: &mut Run, accounts: &Accounts) {
    run.flows = [accounts.card, accounts.software, accounts.card_dropped].map(pair);
    run.card_unknown = accounts.card_unknown;
    run.gap = accounts.gap.map(|(from, until)| (from.0, until.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::port::Port;

    fn ports() -> PortTable {
        let port = |number| Port { mtu_in: 1514, ..Port::physical(number) };
        PortTable::new(vec![port(1), port(2)]).unwrap()
    }

    fn placed(id: u32, text: &str) -> PlacedRule {
        let rule = parse_rule("test", text, &ports()).unwrap().rule;
        PlacedRule { id: RuleId(id), rule: Arc::new(rule) }
    }

    fn state() -> State {
        let (one, two) = (
            placed(3, "priority=7,in_port=1,ip,nw_dst=10.0.0.0/8,idle_timeout=9,actions=output:2"),
            placed(
                8,
                "in_port=2,cookie=0x17,actions=push_vlan:0x8100,set_field:4101->vlan_vid,output:1",
            ),
        );
        let account = RuleAccount {
            id: RuleId(3),
            card: Counts { packets: 1, bytes: 2 },
            card_unknown: true,
            software: Counts { packets: 3, bytes: 4 },
            created: Time(5),
            last_used: None,
        };
        let accounts = Accounts {
            rules: vec![account, RuleAccount { last_used: Some(Time(6)), ..account }],
            entries: [(EntryId(9), Counts { packets: 10, bytes: 11 })].into(),
            card: Counts { packets: 12, bytes: 13 },
            gap: Some((Time(1), Time(2))),
            ..Accounts::default()
        };
        let mut run = Run { id: "abc".into(), now: 77, ..Run::default() };
        run.ports.push(super::super::PortAccount {
            number: 1,
            shown: vec![5],
            ..Default::default()
        });
        put_totals(&mut run, &accounts);
        let rules = RuleLists {
            generation: 4,
            in_force: vec![one.clone()],
            pending: Some(vec![two.clone(), one.clone()]),
            wanted: vec![two],
            last_id: 8,
        };
        State { run, rules, accounts }
    }

    fn bytes(state: &State) -> Vec<u8> {
        encode(&state.run, &encode_rules(&state.rules), &state.accounts)
    }

    fn decoded(bytes: &[u8]) -> Result<State, StateError> {
        decode(Path::new("x.state"), bytes, &ports())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(decoded(&bytes(&state())).unwrap(), state());
    }

    #[test]
    fn a_torn_file_is_refused_wherever_it_is_torn() {
        let whole = bytes(&state());
        for end in 0..whole.len() {
            assert!(decoded(&whole[..end]).is_err(), "{end} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            assert!(decoded(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_foreign_file_and_one_of_a_later_version_say_so() {
        let told = |bytes: &[u8]| decoded(bytes).unwrap_err().to_string();
        assert_eq!(
            told(b"[package]\nname = \"no state at all, but long enough\""),
            "x.state: not a state file"
        );
        let mut later = bytes(&state());
        later[8] = 2;
        assert!(told(&later).contains("newer twinpath (state version 2"), "{}", told(&later));
    }

    #[test]
    fn keys_of_other_versions_are_ignored_and_missing_ones_are_zero() {
        // As an older version without some keys, or a newer one with more, would have written it.
        let mut older = state();
        let text = r#"{"id":"abc","now":77,"colour":{"of":"hope"}}"#;
        let rules = encode_rules(&older.rules);
        let rules = String::from_utf8(rules).unwrap().replacen('{', r#"{"meters":[1,2],"#, 1);
        let run: Run = serde_json::from_str(text).unwrap();
        let bytes = encode(&run, rules.as_bytes(), &older.accounts);
        older.run = run;
        let read = decoded(&bytes).unwrap();
        assert_eq!((read.rules, read.run.id, read.run.now), (older.rules, "abc".to_owned(), 77));
        assert_eq!(read.accounts.rules, older.accounts.rules);
    }
}

//! Cases, what a device under test makes of them, and where two outcomes differ.

use crate::ovs::Ovs;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use twinpath_flow::counters::Counts;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::reference;
use twinpath_flow::rule::{Rule, RuleId};
use twinpath_flow::text::rule_text;

/// Ports, rules and packets.
#[derive(Clone, Debug)]
pub struct Case {
    /// How to get it again: the seed, or the name of a hand-written case.
    pub name: String,
    /// Ports.
    pub ports: Arc<PortTable>,
    /// Rules, in file order.
    pub rules: Vec<Rule>,
    /// Packets with their physical input port, in order.
    pub packets: Vec<(PortNo, Vec<u8>)>,
}

/// Frames sent, in order, by physical port.
pub type Outputs = BTreeMap<PortNo, Vec<Vec<u8>>>;

/// What a device made of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames sent.
    pub outputs: Outputs,
    /// Counters of each rule, in the order of [`Case::rules`].
    pub counts: Vec<Counts>,
    /// Flows the device holds, if it tells.
    pub flows: Option<usize>,
}

/// Something that forwards packets by rules.
pub trait Device {
    /// Runs a case from a fresh state.
    fn run(&mut self, case: &Case) -> Outcome;
}

impl<F: FnMut(&Case) -> Outcome> Device for F {
    fn run(&mut self, case: &Case) -> Outcome {
        self(case)
    }
}

impl Case {
    /// The rules as a pipeline; a rule's id is its index.
    ///
    /// # Panics
    /// Never: a case has far fewer rules than 2^32.
    #[must_use]
    pub fn pipeline(&self) -> Pipeline {
        let placed = (0..)
            .zip(&self.rules)
            .map(|(index, rule)| PlacedRule { id: RuleId(index), rule: Arc::new(rule.clone()) });
        Pipeline::new(Arc::clone(&self.ports), placed)
    }

    /// The rules as a loadable file; `cookie` is each rule's index plus one if `numbered`.
    #[must_use]
    pub fn rules_text(&self, cookies: Cookies) -> String {
        let mut text = String::new();
        for (index, rule) in (1..).zip(&self.rules) {
            let cookie = if cookies == Cookies::Numbered { index } else { rule.cookie };
            let rule = Rule { cookie, ..rule.clone() };
            writeln!(text, "{}", rule_text(&rule, None)).expect("writing to a string succeeds");
        }
        text
    }
}

/// Which cookies a rule file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// Those of the rules.
    AsWritten,
    /// Index plus one, so that a dump can be told apart.
    Numbered,
}

/// The executable specification as a device.
#[must_use]
pub fn by_reference(case: &Case) -> Outcome {
    let pipeline = case.pipeline();
    let mut outcome =
        Outcome { counts: vec![Counts::default(); case.rules.len()], ..Outcome::default() };
    for (port, frame) in &case.packets {
        let done = reference::process(&pipeline, frame, *port);
        for (port, frame) in done.outputs {
            outcome.outputs.entry(port).or_default().push(frame);
        }
        for rule in done.rules {
            outcome.counts[rule.0 as usize] += Counts::one(frame.len());
        }
    }
    outcome
}

/// What of two outcomes is compared.
#[derive(Clone, Copy)]
pub struct Comparison {
    /// Hides the bytes on which the two may differ; applied to frames of both.
    pub mask: fn(&[u8]) -> Vec<u8>,
    /// Whether byte counters are compared too.
    pub bytes: ByteCounters,
}

/// Whether byte counters are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteCounters {
    /// Yes.
    Compared,
    /// No: the device counts decapsulated frames, not frames as received.
    Ignored,
}

impl std::fmt::Debug for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparison").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Comparison {
    /// Differences in outputs and counters, in words.
    #[must_use]
    pub fn difference(&self, case: &Case, wanted: &Outcome, got: &Outcome) -> Option<String> {
        let outputs = self.outputs(&wanted.outputs, &got.outputs);
        let counts = self.counts(case, &wanted.counts, &got.counts);
        match (outputs, counts) {
            (None, None) => None,
            (outputs, counts) => {
                Some([outputs.unwrap_or_default(), counts.unwrap_or_default()].join("\n"))
            }
        }
    }

    /// The first difference in outputs, in words.
    #[must_use]
    pub fn outputs(&self, wanted: &Outputs, got: &Outputs) -> Option<String> {
        let ports: std::collections::BTreeSet<_> = wanted.keys().chain(got.keys()).collect();
        for port in ports {
            let empty = Vec::new();
            let wanted = wanted.get(port).unwrap_or(&empty);
            let got = got.get(port).unwrap_or(&empty);
            let masked = |frames: &[Vec<u8>]| -> Vec<Vec<u8>> {
                frames.iter().map(|frame| (self.mask)(frame)).collect()
            };
            let (want, have) = (masked(wanted), masked(got));
            if want == have {
                continue;
            }
            let at = want.iter().zip(&have).take_while(|(a, b)| a == b).count();
            return Some(format!(
                "port {}: {} frames wanted, {} got; frame {at} wanted {} got {}",
                port.0,
                want.len(),
                have.len(),
                wanted.get(at).map_or_else(|| "nothing".to_owned(), |frame| hex(frame)),
                got.get(at).map_or_else(|| "nothing".to_owned(), |frame| hex(frame)),
            ));
        }
        None
    }

    /// All rules whose counters differ, in words.
    #[must_use]
    pub fn counts(&self, case: &Case, wanted: &[Counts], got: &[Counts]) -> Option<String> {
        let mut text = String::new();
        for (index, rule) in case.rules.iter().enumerate() {
            let (mut want, mut have) = (wanted[index], got[index]);
            if self.bytes == ByteCounters::Ignored {
                (want.bytes, have.bytes) = (0, 0);
            }
            if want != have {
                writeln!(text, "wanted {want:?} got {have:?} of {}", rule_text(rule, None))
                    .expect("writing to a string succeeds");
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Seeds 1 to `count`, or as many as `RULE_SETS` says; only `SEED` when it is given.
#[must_use]
pub fn seeds(count: u64) -> Vec<u64> {
    seeds_up_to(number("RULE_SETS").unwrap_or(count))
}

/// Seeds 1 to `count`; only `SEED` when it is given.
#[must_use]
pub fn seeds_up_to(count: u64) -> Vec<u64> {
    number("SEED").map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Differing cases reported in full; more are only counted.
const REPORTS_MAX: usize = 3;

/// Runs the case on Open vSwitch and compares. Where its flow cache makes it disagree with itself, its
/// slow path decides ([`Ovs::run_uncached`]).
pub fn difference(
    case: &Case,
    comparison: &Comparison,
    ovs: &mut Ovs,
    got: &Outcome,
) -> Option<String> {
    comparison.difference(case, &ovs.run(case), got)?;
    comparison.difference(case, &ovs.run_uncached(case), got)
}

/// Runs every case on Open vSwitch and on `device`.
///
/// # Panics
/// If they differ: with each case's name, the difference, and the packet that makes it.
pub fn assert_equal(
    cases: impl Iterator<Item = Case>,
    comparison: &Comparison,
    ovs: &mut Ovs,
    device: &mut dyn Device,
) {
    let mut reports = Vec::new();
    let mut names = Vec::new();
    for case in cases {
        let got = device.run(&case);
        let Some(difference) = difference(&case, comparison, ovs, &got) else { continue };
        if reports.len() < REPORTS_MAX {
            let culprit = culprit(&case, comparison, ovs, device);
            reports.push(format!("{}: {difference}\n{culprit}", case.name));
        }
        names.push(case.name);
    }
    assert!(names.is_empty(), "{} differ:\n{}", names.join(" "), reports.join("\n"));
}

/// The packet whose arrival makes the difference: found by halving the list, with a fresh state each
/// time, so that differences between flows made by earlier packets are found too.
fn culprit(case: &Case, comparison: &Comparison, ovs: &mut Ovs, device: &mut dyn Device) -> String {
    let (mut good, mut bad) = (0, case.packets.len());
    let mut difference = String::new();
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        let part = Case { packets: case.packets[..middle].to_vec(), ..case.clone() };
        let got = device.run(&part);
        match self::difference(&part, comparison, ovs, &got) {
            Some(found) => (bad, difference) = (middle, found),
            None => good = middle,
        }
    }
    let (port, frame) = &case.packets[good];
    format!(
        "packet {good} of port {}: {}\n{difference}\nopen vswitch says:\n{}",
        port.0,
        hex(frame),
        ovs.trace(*port, frame)
    )
}

/// Hexadecimal digits of a frame.
#[must_use]
pub fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits; spaces are skipped.
///
/// # Panics
/// If there is an odd number of digits or something else.
#[must_use]
pub fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("hexadecimal"))
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of digits");
    pairs.iter().map(|[high, low]| u8::try_from(high << 4 | low).expect("two digits")).collect()
}

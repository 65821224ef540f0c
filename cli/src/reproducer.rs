//! A packet that a card treated otherwise than the rules: kept in a file, run again from it.

use crate::config::{Config, ConfigError};
use crate::run::event_ring::hex;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinpath_fallback::{Outbox, PacketPool, Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::PortNo;
use twinpath_flow::reference::process;
use twinpath_flow::text::parse_rules;
use twinpath_flow::time::Time;
use twinpath_offload::RuleStore;
use twinpath_offload::shadow::{Divergence, Finding};

/// Files of one folder at most; a card that is wrong is wrong often.
const FILES_MAX: u32 = 16;

/// A frame at a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FrameAt {
    /// Physical port.
    pub port: u16,
    /// Bytes in hexadecimal.
    pub frame: String,
}

/// Counts of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryCounts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Everything that is needed to see the packet again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reproducer {
    /// How the card differed.
    pub divergence: String,
    /// The configuration: only its ports matter.
    pub config: String,
    /// The rules in force.
    pub rules: String,
    /// The packet as received.
    pub packet: FrameAt,
    /// What the rules demanded.
    pub expected: Vec<FrameAt>,
    /// What the card sent.
    pub got: Vec<FrameAt>,
    /// What the entry should have counted, when that is what was wrong.
    pub expected_counts: Option<EntryCounts>,
    /// What it counted.
    pub got_counts: EntryCounts,
}

/// What a reproducer shows when it is run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Replayed {
    /// The recording.
    #[serde(flatten)]
    pub recorded: Reproducer,
    /// What the specification sends now.
    pub specification: Vec<FrameAt>,
    /// What the software path sends now.
    pub software: Vec<FrameAt>,
    /// Whether what the card did is wrong by both.
    pub confirmed: bool,
}

/// Why a reproducer cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// It cannot be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not one.
    #[error("{}: not a reproducer: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its rules are wrong.
    #[error("{}: rules: {text}", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// The first fault.
        text: String,
    },
    /// A frame is not hexadecimal.
    #[error("{}: packet.frame is not an even number of hexadecimal digits", path.display())]
    Frame {
        /// The file.
        path: PathBuf,
    },
}

impl Reproducer {
    /// Of a finding under `config` and rules as loadable text.
    pub(crate) fn new(finding: &Finding, config: &Config, rules: String) -> Self {
        let sample = &finding.sample;
        let counts = |counts: twinpath_flow::counters::Counts| EntryCounts {
            packets: counts.packets,
            bytes: counts.bytes,
        };
        let got = frames(&sample.sent);
        let (expected, expected_counts) = match &finding.divergence {
            Divergence::Frames { expected } => (frames(expected), None),
            Divergence::Counts { expected, .. } => (got.clone(), Some(counts(*expected))),
            Divergence::Match => (got.clone(), None),
        };
        Self {
            divergence: finding.divergence.to_string(),
            config: config.text().to_owned(),
            rules,
            packet: FrameAt { port: sample.port.0, frame: hex(&sample.received) },
            expected,
            got,
            expected_counts,
            got_counts: counts(sample.counts),
        }
    }

    /// Writes it to the first free `divergence-N.json` of `folder`; `None` when there are enough.
    ///
    /// # Errors
    /// The folder or file cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<Option<PathBuf>> {
        fs::create_dir_all(folder)?;
        for number in 1..=FILES_MAX {
            let path = folder.join(format!("divergence-{number}.json"));
            match File::create_new(&path) {
                Ok(mut file) => {
                    let mut text = serde_json::to_string_pretty(self)?;
                    text.push('\n');
                    file.write_all(text.as_bytes())?;
                    return Ok(Some(path));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Reads the file at `path` and runs its packet through specification and software path.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub(crate) fn replay(path: &Path) -> Result<Replayed, ReplayError> {
        let at = || path.to_owned();
        let text =
            fs::read_to_string(path).map_err(|source| ReplayError::Read { path: at(), source })?;
        let recorded: Self = serde_json::from_str(&text)
            .map_err(|source| ReplayError::Form { path: at(), source })?;
        let ports = Config::parse(path, recorded.config.clone())?.ports;
        let rules = parse_rules("rules", &recorded.rules, &ports).map_err(|errors| {
            let text = errors.first().map_or_else(String::new, ToString::to_string);
            ReplayError::Rules { path: at(), text }
        })?;
        let mut store = RuleStore::new();
        store.replace(rules.into_iter().map(|parsed| parsed.rule).collect());
        let pipeline = Arc::new(store.pipeline(ports));
        let frame = bytes(&recorded.packet.frame);
        let frame = frame.ok_or_else(|| ReplayError::Frame { path: at() })?;
        let port = PortNo(recorded.packet.port);
        let specification = frames(&process(&pipeline, &frame, port).outputs);
        let software = by_software(&pipeline, &frame, port);
        let differs = |now: &[FrameAt]| sorted(now) != sorted(&recorded.got);
        let counts = recorded.expected_counts.is_some_and(|right| right != recorded.got_counts);
        let of_other = recorded.expected == recorded.got && !counts;
        let confirmed = counts || of_other || (differs(&specification) && differs(&software));
        Ok(Replayed { recorded, specification, software, confirmed })
    }
}

/// What the software path makes of one frame.
fn by_software(pipeline: &Arc<Pipeline>, frame: &[u8], port: PortNo) -> Vec<FrameAt> {
    let mut path = SoftwarePath::new(Settings::default(), Generation(0), Arc::clone(pipeline));
    let (mut pool, mut out) = (PacketPool::new(256), Outbox::default());
    let Some(mut packet) = pool.take() else { return Vec::new() };
    if !packet.fill(frame) {
        return Vec::new();
    }
    packet.port = port;
    path.process(Time::default(), &mut vec![packet], &mut pool, &mut out);
    let sent = out.transmissions.iter();
    sent.map(|sent| FrameAt { port: sent.leaves_by.0, frame: hex(sent.frame()) }).collect()
}

fn frames(sent: &[(PortNo, Vec<u8>)]) -> Vec<FrameAt> {
    sent.iter().map(|(port, frame)| FrameAt { port: port.0, frame: hex(frame) }).collect()
}

/// By port; the order at each port stays.
fn sorted(frames: &[FrameAt]) -> Vec<FrameAt> {
    let mut sorted = frames.to_vec();
    sorted.sort_by_key(|frame| frame.port);
    sorted
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

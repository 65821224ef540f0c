//! The configuration file as TOML has it: keys and types, nothing checked beyond that.

use super::place::Fault;
use crate::near::nearest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys of the whole file.
const ROOT_KEYS: [&str; 18] = [
    "device",
    "rules",
    "workers",
    "cpus",
    "poll",
    "kernel",
    "control",
    "hold",
    "state",
    "sim",
    "rocker",
    "shadow",
    "placement",
    "port",
    "user",
    "control_mode",
    "control_group",
    "recovery",
];
/// Keys of `[shadow]`.
const SHADOW_KEYS: [&str; 3] = ["sample", "per_second", "folder"];
/// Keys of `[placement]`.
const PLACEMENT_KEYS: [&str; 2] = ["updates_per_second", "host_percent"];
/// Keys of `[recovery]`.
const RECOVERY_KEYS: [&str; 6] =
    ["failures", "window", "at_once", "pause", "pause_max", "standstill"];
/// Keys of `[rocker]`.
const ROCKER_KEYS: [&str; 1] = ["ipv4_header"];
/// Keys of `[sim]`.
const SIM_KEYS: [&str; 14] = [
    "profile",
    "faults",
    "capacity",
    "ternary",
    "hold_frames",
    "hold_entries",
    "tunnels",
    "port_frames",
    "packet_latency_ns",
    "command_latency_ns",
    "command_interval_ns",
    "bug_wrong_port",
    "bug_miscount",
    "bug_wide_match",
];
/// Keys of `[[port]]`.
const PORT_KEYS: [&str; 14] = [
    "number",
    "name",
    "wire",
    "standby",
    "mtu",
    "type",
    "over",
    "local_ip",
    "remote_ip",
    "local_mac",
    "peer_mac",
    "tos",
    "ttl",
    "qfi",
];

/// The whole file.
#[derive(Debug, Deserialize)]
pub(crate) struct RawConfig {
    pub device: Option<Spanned<String>>,
    pub rules: Option<Spanned<PathBuf>>,
    pub workers: Option<Spanned<i64>>,
    pub cpus: Option<Vec<Spanned<i64>>>,
    pub poll: Option<Spanned<String>>,
    pub kernel: Option<Spanned<String>>,
    pub control: Option<Spanned<PathBuf>>,
    pub user: Option<Spanned<String>>,
    pub control_mode: Option<Spanned<String>>,
    pub control_group: Option<Spanned<String>>,
    pub hold: Option<Spanned<String>>,
    pub state: Option<Spanned<PathBuf>>,
    pub sim: Option<RawSim>,
    pub rocker: Option<RawRocker>,
    pub shadow: Option<RawShadow>,
    pub placement: Option<RawPlacement>,
    pub recovery: Option<RawRecovery>,
    #[serde(default)]
    pub port: Vec<Spanned<RawPort>>,
}

/// `[sim]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawSim {
    pub profile: Option<Spanned<String>>,
    pub faults: Option<RawFaults>,
    pub capacity: Option<Spanned<i64>>,
    pub ternary: Option<Spanned<i64>>,
    pub hold_frames: Option<Spanned<i64>>,
    pub hold_entries: Option<Spanned<i64>>,
    pub tunnels: Option<Spanned<i64>>,
    pub port_frames: Option<Spanned<i64>>,
    pub packet_latency_ns: Option<Spanned<i64>>,
    pub command_latency_ns: Option<Spanned<i64>>,
    pub command_interval_ns: Option<Spanned<i64>>,
    pub bug_wrong_port: Option<Spanned<i64>>,
    pub bug_miscount: Option<Spanned<i64>>,
    pub bug_wide_match: Option<Spanned<i64>>,
}

/// `[sim.faults]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFaults {
    pub seed: Option<Spanned<i64>>,
    #[serde(default)]
    pub one_in: BTreeMap<Spanned<String>, Spanned<i64>>,
    #[serde(default)]
    pub amount: BTreeMap<Spanned<String>, Spanned<i64>>,
    #[serde(default)]
    pub script: Vec<Spanned<RawIncident>>,
}

/// One event of the script; times in seconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIncident {
    pub class: Spanned<String>,
    pub at: Option<Spanned<f64>>,
    #[serde(rename = "for")]
    pub lasts: Option<Spanned<f64>>,
    pub amount: Option<Spanned<i64>>,
}

/// `[shadow]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawShadow {
    pub sample: Option<Spanned<i64>>,
    pub per_second: Option<Spanned<i64>>,
    pub folder: Option<Spanned<PathBuf>>,
}

/// `[placement]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawPlacement {
    pub updates_per_second: Option<Spanned<i64>>,
    pub host_percent: Option<Spanned<i64>>,
}

/// `[recovery]`; times in seconds.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawRecovery {
    pub failures: Option<Spanned<i64>>,
    pub at_once: Option<Spanned<i64>>,
    pub window: Option<Spanned<f64>>,
    pub pause: Option<Spanned<f64>>,
    pub pause_max: Option<Spanned<f64>>,
    pub standstill: Option<Spanned<f64>>,
}

/// `[rocker]`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawRocker {
    pub ipv4_header: Option<Spanned<String>>,
}

impl RawSim {
    /// Everything that changes the profile, capacity first because it lays out the tables.
    pub(crate) const fn overrides(&self) -> [(&'static str, Option<&Spanned<i64>>); 12] {
        [
            ("capacity", self.capacity.as_ref()),
            ("ternary", self.ternary.as_ref()),
            ("hold_frames", self.hold_frames.as_ref()),
            ("hold_entries", self.hold_entries.as_ref()),
            ("tunnels", self.tunnels.as_ref()),
            ("port_frames", self.port_frames.as_ref()),
            ("packet_latency_ns", self.packet_latency_ns.as_ref()),
            ("command_latency_ns", self.command_latency_ns.as_ref()),
            ("command_interval_ns", self.command_interval_ns.as_ref()),
            ("bug_wrong_port", self.bug_wrong_port.as_ref()),
            ("bug_miscount", self.bug_miscount.as_ref()),
            ("bug_wide_match", self.bug_wide_match.as_ref()),
        ]
    }
}

/// One `[[port]]`.
#[derive(Debug, Deserialize)]
pub(crate) struct RawPort {
    pub number: Option<Spanned<i64>>,
    pub name: Option<Spanned<String>>,
    pub wire: Option<Spanned<String>>,
    pub standby: Option<Spanned<String>>,
    pub mtu: Option<Spanned<i64>>,
    #[serde(rename = "type")]
    pub kind: Option<Spanned<String>>,
    pub over: Option<Spanned<i64>>,
    pub local_ip: Option<Spanned<String>>,
    pub remote_ip: Option<Spanned<String>>,
    pub local_mac: Option<Spanned<String>>,
    pub peer_mac: Option<Spanned<String>>,
    pub tos: Option<Spanned<RawTos>>,
    pub ttl: Option<Spanned<i64>>,
    pub qfi: Option<Spanned<i64>>,
}

/// `tos` as a word or a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum RawTos {
    /// "inherit", or a number in quotes.
    Word(String),
    /// A number.
    Number(i64),
}

/// A fault and where in the text it is.
pub(crate) type Located = (Range<usize>, Fault);

/// Reads `text`.
///
/// # Errors
/// Not TOML, an unknown key, or a value of the wrong type; with its span.
pub(crate) fn read(text: &str) -> Result<RawConfig, Located> {
    let located = |error: toml::de::Error| {
        (error.span().unwrap_or(0..0), Fault::Syntax(error.message().replace('\n', ", ")))
    };
    let table = DeTable::parse(text).map_err(located)?;
    check_keys(table.get_ref(), "the configuration", &ROOT_KEYS)?;
    if let Some(DeValue::Table(sim)) = table.get_ref().get("sim").map(Spanned::get_ref) {
        check_keys(sim, "[sim]", &SIM_KEYS)?;
    }
    if let Some(DeValue::Table(rocker)) = table.get_ref().get("rocker").map(Spanned::get_ref) {
        check_keys(rocker, "[rocker]", &ROCKER_KEYS)?;
    }
    if let Some(DeValue::Table(shadow)) = table.get_ref().get("shadow").map(Spanned::get_ref) {
        check_keys(shadow, "[shadow]", &SHADOW_KEYS)?;
    }
    if let Some(DeValue::Table(part)) = table.get_ref().get("placement").map(Spanned::get_ref) {
        check_keys(part, "[placement]", &PLACEMENT_KEYS)?;
    }
    if let Some(DeValue::Table(recovery)) = table.get_ref().get("recovery").map(Spanned::get_ref) {
        check_keys(recovery, "[recovery]", &RECOVERY_KEYS)?;
    }
    if let Some(DeValue::Array(ports)) = table.get_ref().get("port").map(Spanned::get_ref) {
        for port in ports.iter() {
            if let DeValue::Table(port) = port.get_ref() {
                check_keys(port, "[[port]]", &PORT_KEYS)?;
            }
        }
    }
    toml::from_str(text).map_err(located)
}

fn check_keys(
    table: &DeTable<'_>,
    name: &'static str,
    known: &[&'static str],
) -> Result<(), Located> {
    let unknown = table
        .iter()
        .map(|(key, _)| key)
        .filter(|key| !known.contains(&key.get_ref().as_ref()))
        .min_by_key(|key| key.span().start);
    let Some(key) = unknown else { return Ok(()) };
    let given = key.get_ref().to_string();
    let fault = Fault::UnknownKey { nearest: nearest(&given, known), key: given, table: name };
    Err((key.span(), fault))
}

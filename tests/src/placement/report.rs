//! What the benchmark reports: rows, the Markdown table, the JSON, and whether the bars are met.

use super::trace::Trace;
use super::{Contestant, Score, Setting};
use std::fmt::Write as _;
use std::time::Duration;

/// Rooms, in thousandths of the flows.
pub const ROOMS: [u32; 6] = [1, 10, 50, 100, 200, 500];

/// Entries added or deleted per second that everyone may make.
const UPDATES_PER_SECOND: u32 = 10_000;

/// From an operation's submission to its effect.
const LATENCY: Duration = Duration::from_micros(200);

/// Runs everyone over a trace, in cards with room for so many thousandths of its flows.
#[must_use]
pub fn rows(trace: &Trace, rooms: &[u32]) -> Vec<Row> {
    let quiet = (trace.name == "scan_attack").then(|| trace.without_attack());
    let mut rows = Vec::new();
    for room in rooms.iter().copied() {
        let setting = Setting {
            room: (trace.flows as usize * room as usize / 1000).max(1),
            updates_per_second: UPDATES_PER_SECOND,
            latency: LATENCY,
        };
        for policy in Contestant::ALL {
            let score = policy.run(trace, setting);
            let unattacked = quiet.as_ref().map(|q| policy.run(q, setting).elephant_hit_ratio());
            let (trace, room) = (trace.name.clone(), f64::from(room) / 1000.0);
            rows.push(Row { trace, policy, room, score, unattacked });
        }
    }
    rows
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the trace.
    pub trace: String,
    /// Policy.
    pub policy: Contestant,
    /// Room as a fraction of the trace's flows.
    pub room: f64,
    /// What came of it.
    pub score: Score,
    /// For a trace with an attack: the elephants' hit ratio without it.
    pub unattacked: Option<f64>,
}

/// Rooms at which the bars stand.
const BAR_ROOMS: [f64; 3] = [0.01, 0.05, 0.1];

/// Share of the clairvoyant's hit ratio that the engine must reach.
const BAR_SHARE: f64 = 0.95;

/// Most by which the elephants' hit ratio may fall under attack.
const BAR_FALL: f64 = 0.02;

/// All rows of a run of the benchmark.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// In the order of traces, rooms, policies.
    pub rows: Vec<Row>,
}

impl Report {
    fn find(&self, trace: &str, room: f64, policy: Contestant) -> Option<&Row> {
        let same = |row: &&Row| row.trace == trace && row.room == room && row.policy == policy;
        self.rows.iter().find(same)
    }

    /// The cases in order.
    fn cases(&self) -> Vec<(&str, f64)> {
        let mut cases: Vec<(&str, f64)> = Vec::new();
        for row in &self.rows {
            if cases.last() != Some(&(&row.trace, row.room)) {
                cases.push((&row.trace, row.room));
            }
        }
        cases
    }

    /// The bars that are not met, a line each.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (trace, room) in self.cases() {
            let barred = BAR_ROOMS.contains(&room);
            let of = |policy| self.find(trace, room, policy);
            let Some(ours) = of(Contestant::Twinpath).filter(|_| barred) else { continue };
            let mut fail = |text: String| failures.push(format!("{trace} at room {room}: {text}"));
            if let Some(before) = ours.unattacked {
                let fall = before - ours.score.elephant_hit_ratio();
                if fall >= BAR_FALL {
                    fail(format!("elephants lose {:.1} points of hit ratio", fall * 100.0));
                }
            }
            if !(trace.starts_with("zipf") || trace == "onoff") {
                continue;
            }
            let ratio = ours.score.hit_ratio();
            if let Some(best) = of(Contestant::Clairvoyant).map(|row| row.score.hit_ratio())
                && ratio < BAR_SHARE * best
            {
                fail(format!("{:.1} % of the clairvoyant's hit ratio", ratio / best * 100.0));
            }
            for policy in
                [Contestant::Lru, Contestant::Lfu, Contestant::PpsRank, Contestant::FirstCome]
            {
                let Some(other) = of(policy).map(|row| row.score) else { continue };
                if other.hit_ratio() >= ratio {
                    fail(format!("not above {}", policy.name()));
                }
                if policy == Contestant::Lru && ours.score.updates >= other.updates {
                    fail("as many updates as lru".into());
                }
            }
        }
        failures
    }

    /// A Markdown table: hit ratios in percent, a line per trace and room.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("| trace | room |");
        for policy in Contestant::ALL {
            let _ = write!(text, " {} |", policy.name());
        }
        text.push_str(" of clairvoyant | updates/packet |\n|---|---:|");
        text.push_str(&"---:|".repeat(Contestant::ALL.len() + 2));
        text.push('\n');
        for (trace, room) in self.cases() {
            let _ = write!(text, "| {trace} | {:.1} % |", room * 100.0);
            for policy in Contestant::ALL {
                let ratio = self.find(trace, room, policy).map(|row| row.score.hit_ratio());
                let cell = ratio.map_or_else(String::new, |r| format!("{:.1}", r * 100.0));
                let _ = write!(text, " {cell} |");
            }
            let ours = self.find(trace, room, Contestant::Twinpath).map(|row| row.score);
            let best = self.find(trace, room, Contestant::Clairvoyant).map(|row| row.score);
            let best = best.filter(|best| best.hits > 0);
            let share = ours.zip(best).map(|(o, b)| o.hit_ratio() / b.hit_ratio() * 100.0);
            let share = share.map_or_else(String::new, |share| format!("{share:.1} %"));
            let updates = ours.map_or(0.0, |score| score.updates_per_packet());
            let _ = writeln!(text, " {share} | {updates:.5} |");
        }
        text
    }

    /// A Markdown table of what an attack costs the elephants; empty without such a trace.
    #[must_use]
    pub fn attacks(&self) -> String {
        let mut text = String::new();
        for row in self.rows.iter().filter(|row| row.unattacked.is_some()) {
            if text.is_empty() {
                text.push_str("| room | policy | elephants alone | under attack | lost points |\n");
                text.push_str("|---:|---|---:|---:|---:|\n");
            }
            let before = row.unattacked.unwrap_or_default() * 100.0;
            let after = row.score.elephant_hit_ratio() * 100.0;
            let (room, name, fall) = (row.room * 100.0, row.policy.name(), before - after);
            let _ =
                writeln!(text, "| {room:.1} % | {name} | {before:.2} | {after:.2} | {fall:.2} |");
        }
        text
    }

    /// The rows as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let row = |row: &Row| {
            let mut value = serde_json::json!({
                "trace": row.trace,
                "policy": row.policy.name(),
                "room": row.room,
                "hit_ratio": row.score.hit_ratio(),
                "updates_per_packet": row.score.updates_per_packet(),
            });
            if let Some(before) = row.unattacked {
                value["elephants_hit_ratio"] = row.score.elephant_hit_ratio().into();
                value["elephants_alone_hit_ratio"] = before.into();
            }
            value
        };
        self.rows.iter().map(row).collect()
    }
}

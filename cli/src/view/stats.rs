//! Statistics for people.

use super::{known, lines, share, table};
use crate::statistics::{Packets, Reading, ReconcileView, ShadowView, Statistics};
use std::fmt::Write as _;
use std::time::Duration;

/// Rules shown; JSON has all.
const RULES_SHOWN: usize = 20;

/// Reasons shown; `twinpath flows --why` has all.
const REASONS_SHOWN: usize = 4;

/// Characters of a match shown.
const MATCH_WIDTH: usize = 38;

/// The statistics as tables; `wall` is how long the run took by the clock.
pub(crate) fn summary(statistics: &Statistics, wall: Option<Duration>) -> String {
    let mut text = head(statistics, wall);
    text.push('\n');
    text += &ports(statistics);
    if !statistics.workers.is_empty() {
        text.push('\n');
        text += &workers(statistics);
    }
    if !statistics.rules.is_empty() {
        text.push('\n');
        text += &rules(statistics);
    }
    if let Some(card) = &statistics.card {
        text.push('\n');
        text += &super::card::line(card);
        text += &shadow(statistics.shadow.as_ref());
        text += &reconcile(statistics.reconcile.as_ref());
        let mut rows = table(&["table", "used", "capacity", "mask"], &[1, 2]);
        for each in &card.tables {
            let mask = each.mask.clone().unwrap_or_default();
            rows.add_row([
                each.name.clone(),
                each.used.to_string(),
                each.capacity.to_string(),
                mask,
            ]);
        }
        text += &lines(&rows);
    }
    text
}

fn head(statistics: &Statistics, wall: Option<Duration>) -> String {
    let Packets { received, card, software, lost, held, dropped } = &statistics.packets;
    let kind = if statistics.time.is_virtual { "virtual" } else { "real" };
    let mut text = format!(
        "{} on device {}: {:.6} s of {kind} time",
        statistics.name, statistics.device, statistics.time.seconds
    );
    if let Some(wall) = wall {
        let _ = write!(text, ", {:.1} s by the clock", wall.as_secs_f64());
    }
    let _ = writeln!(text, "\n\nreceived  {:>14}", known(*received));
    for (name, count) in [("card", *card), ("software", Some(*software))] {
        let share = count.zip(*received).map_or_else(String::new, |(part, all)| share(part, all));
        let _ = writeln!(text, "  {name:<8}{:>14}  {share}", known(count));
    }
    let all_lost: u64 = lost.values().sum();
    let causes: Vec<String> =
        lost.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    let _ = writeln!(text, "  lost    {all_lost:>14}  {}", causes.join(", "));
    let _ = writeln!(text, "  held    {:>14}", known(*held));
    let _ = writeln!(text, "dropped   {dropped:>14}  by the rules");
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".into(), |r| format!("{r:.4}"));
    let _ = writeln!(
        text,
        "offloaded {:>14}  second half {}",
        ratio(statistics.offload_ratio),
        ratio(statistics.offload_ratio_second_half)
    );
    let flows = &statistics.flows;
    let _ = writeln!(
        text,
        "flows     {:>14}  {} made, {} in the card with {} entries",
        flows.known, flows.made, flows.offloaded, flows.entries
    );
    if let Some(decided) = card.map(|card| card + software).filter(|all| *all > 0) {
        for (at, each) in statistics.software_reasons.iter().take(REASONS_SHOWN).enumerate() {
            let head = if at == 0 { "software because" } else { "" };
            let _ =
                writeln!(text, "{head:<16}{:>8}  {}", share(each.packets, decided), each.reason);
        }
    }
    if let Some(most) = statistics.overtaken_max {
        let _ = writeln!(text, "overtaken {most:>14}  at most: the card cannot hold packets");
    }
    if let Some((from, until)) = statistics.counter_gap {
        let _ = writeln!(text, "card counters unknown from {from:.3} s to {until:.3} s");
    }
    text
}

fn shadow(shadow: Option<&ShadowView>) -> String {
    match shadow {
        None => "checked against the rules: not, it cannot mirror what it forwards\n".to_owned(),
        Some(ShadowView { sample: 0, .. }) => {
            "checked against the rules: not, by choice\n".to_owned()
        }
        Some(shadow) => format!(
            "checked against the rules: {} samples, {} skipped, {} differ, {} flows quarantined\n",
            shadow.judged, shadow.skipped, shadow.diverged, shadow.quarantined
        ),
    }
}

/// Whether the card holds what it should, for people.
pub(crate) fn reading(reading: &Reading) -> String {
    let Some(card) = &reading.card else {
        return "no card\n".to_owned();
    };
    let Reading { entries, places, .. } = reading;
    let mut text = format!("card {card}: {entries} entries in {places} places\n");
    text += &reconcile(reading.read.as_ref());
    text += &match reading.read.as_ref().map(|read| (read.last_pass, read.found())) {
        None => String::new(),
        Some((None, _)) => "not gone through once yet\n".to_owned(),
        Some((Some(last), 0)) => format!("last gone through at {last:.1} s: all as it should be\n"),
        Some((Some(last), _)) => {
            format!("last gone through at {last:.1} s; `twinpath events` has each finding\n")
        }
    };
    text
}

fn reconcile(reconcile: Option<&ReconcileView>) -> String {
    let Some(read) = reconcile else {
        return "read back: unverifiable, the card cannot be read\n".to_owned();
    };
    format!(
        "read back: {} places, {} times all; {} missing, {} altered, {} orphans mended\n",
        read.inspected, read.passes, read.missing, read.altered, read.orphans
    )
}

fn ports(statistics: &Statistics) -> String {
    let heads = ["port", "name", "rx packets", "rx bytes", "tx packets", "tx bytes", "tx dropped"];
    let mut rows = table(&heads, &[0, 2, 3, 4, 5, 6]);
    for port in &statistics.ports {
        rows.add_row([
            port.number.to_string(),
            port.name.clone(),
            known(port.rx_packets),
            known(port.rx_bytes),
            known(port.tx_packets),
            known(port.tx_bytes),
            port.tx_dropped.to_string(),
        ]);
    }
    lines(&rows)
}

fn workers(statistics: &Statistics) -> String {
    let heads = ["worker", "cpu", "ports", "packets", "flows", "handed over", "ring full"];
    let mut rows = table(&heads, &[0, 1, 3, 4, 5, 6]);
    for (at, worker) in statistics.workers.iter().enumerate() {
        let ports: Vec<String> = worker.ports.iter().map(ToString::to_string).collect();
        rows.add_row([
            at.to_string(),
            worker.cpu.map_or_else(|| "any".to_owned(), |cpu| cpu.to_string()),
            shortened(&ports.join(" ")),
            worker.packets.to_string(),
            worker.flows.to_string(),
            worker.handed_over.to_string(),
            worker.ring_full.to_string(),
        ]);
    }
    lines(&rows)
}

fn rules(statistics: &Statistics) -> String {
    let mut rows = table(&["table", "priority", "packets", "bytes", "match"], &[0, 1, 2, 3]);
    let mut shown: Vec<usize> = (0..statistics.rules.len()).collect();
    shown.sort_by_key(|at| std::cmp::Reverse(statistics.rules[*at].packets));
    shown.truncate(RULES_SHOWN);
    shown.sort_unstable();
    for at in &shown {
        let rule = &statistics.rules[*at];
        rows.add_row([
            rule.table.to_string(),
            rule.priority.to_string(),
            known(rule.packets),
            known(rule.bytes),
            shortened(&rule.matching),
        ]);
    }
    let mut text = lines(&rows);
    let hidden = statistics.rules.len() - shown.len();
    if hidden > 0 {
        text += &format!("the {RULES_SHOWN} busiest; {hidden} more with --json\n");
    }
    let unhit = statistics.rules.iter().filter(|rule| rule.packets == Some(0)).count();
    if unhit > 0 {
        text += &format!("{unhit} rules without a packet\n");
    }
    text
}

/// Text cut to what fits beside the numbers.
fn shortened(text: &str) -> String {
    if text.chars().count() <= MATCH_WIDTH {
        return text.to_owned();
    }
    text.chars().take(MATCH_WIDTH - 1).chain(['…']).collect()
}

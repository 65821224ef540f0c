//! Collects the statistics of a session.

use super::history::{Sample, ratio};
use super::ports::PortLine;
use super::recovery::Recovery;
use super::session::Session;
use crate::statistics::{
    CardView, FlowCounts, Packets, PortView, Reading, ReasonCount, ReconcileView, RuleView,
    ShadowView, Statistics, TableView, TimeView,
};
use twinpath_flow::counters::Counts;
use twinpath_flow::field::FIELDS;
use twinpath_flow::key::{Key, Line};
use twinpath_flow::pipeline::PlacedRule;

/// The statistics of `session` as of now.
pub(crate) fn statistics(session: &mut Session) -> Statistics {
    session.refresh();
    let received = session.received();
    let fates = session.forwarder.fates(received);
    let card = card(session);
    let session = &*session;
    let totals = session.brain.engine.totals();
    let sees_wires = session.forwarder.sees_wires();
    let flows = session.forwarder.keeper().map_or((0, 0), |keeper| keeper.flow_counts());
    let card_decided = fates.card.unwrap_or_default();
    let sample = Sample { received, card: card_decided, software: fates.software };
    let half = session.history.second_half(sample);
    let seconds = |time| session.seconds(time);
    Statistics {
        name: session.config.name(),
        device: session.config.device.name().to_owned(),
        time: TimeView {
            is_virtual: session.ports.are_virtual(),
            seconds: session.elapsed().as_secs_f64(),
        },
        packets: Packets {
            received: sees_wires.then_some(received),
            card: fates.card,
            software: fates.software,
            lost: fates.lost.iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect(),
            held: sees_wires.then_some(fates.held),
            dropped: fates.dropped + totals.card_dropped.packets,
        },
        offload_ratio: ratio(fates.card, fates.software),
        offload_ratio_second_half: ratio(fates.card.map(|_| half.0), half.1),
        software_reasons: software_reasons(session, fates.software),
        ports: ports(session),
        rules: session.brain.pipeline().iter().map(|placed| rule(session, placed)).collect(),
        flows: FlowCounts {
            known: flows.0,
            offloaded: totals.offloaded,
            entries: totals.entries,
            made: flows.1,
        },
        workers: session.forwarder.workers(),
        card,
        shadow: shadow(session),
        reconcile: reconcile(session),
        counter_gap: totals.counter_gap.map(|(from, until)| (seconds(from), seconds(until))),
        overtaken_max: session.brain.engine.overtaken_max(),
        controller: session.brain.events.copy_count(),
    }
}

/// Why software's packets were not in the card. Without a card there is nothing to explain.
fn software_reasons(session: &Session, decided: u64) -> Vec<ReasonCount> {
    if session.forwarder.is_software_only() {
        return Vec::new();
    }
    let reasons = session.brain.engine.reasons();
    let mut counts: Vec<_> = reasons
        .iter()
        .filter(|view| view.packets > 0)
        .map(|view| ReasonCount { reason: view.reason.to_string(), packets: view.packets })
        .collect();
    let former = session.forwarder.former_decided();
    if former > 0 {
        counts.push(ReasonCount { reason: "before the last restart".to_owned(), packets: former });
    }
    let packets = decided.saturating_sub(counts.iter().map(|count| count.packets).sum());
    if packets > 0 {
        counts.push(ReasonCount { reason: "exceptions, decided one by one".to_owned(), packets });
    }
    counts.sort_by_key(|count| std::cmp::Reverse(count.packets));
    counts
}

fn ports(session: &Session) -> Vec<PortView> {
    let lines = session.ports.lines().iter().enumerate();
    let sees_wires = session.forwarder.sees_wires();
    lines
        .map(|(index, line)| {
            let mut view = port(line, session.forwarder.send_dropped(index));
            if !sees_wires {
                (view.rx_packets, view.rx_bytes) = (None, None);
                (view.tx_packets, view.tx_bytes) = (None, None);
            }
            view
        })
        .collect()
}

fn port(line: &PortLine, dropped_by_device: u64) -> PortView {
    PortView {
        number: line.number.0,
        name: line.name.clone(),
        rx_packets: Some(line.received.packets),
        rx_bytes: Some(line.received.bytes),
        rx_missed: line.missed(),
        tx_packets: Some(line.sent().packets),
        tx_bytes: Some(line.sent().bytes),
        tx_dropped: line.send_dropped() + dropped_by_device,
    }
}

fn rule(session: &Session, placed: &PlacedRule) -> RuleView {
    let view = session.brain.engine.rule(placed.id);
    let counts = view.map_or_else(|| Some(Counts::default()), |view| view.counts.total());
    let card = view.and_then(|view| view.counts.card).filter(|card| card.counts.packets > 0);
    RuleView {
        table: placed.rule.table,
        priority: placed.rule.priority,
        matching: super::explain::rule_match(&placed.rule),
        cookie: placed.rule.cookie,
        packets: counts.map(|counts| counts.packets),
        bytes: counts.map(|counts| counts.bytes),
        card_counted_at: card.map(|card| session.seconds(card.as_of)),
    }
}

fn shadow(session: &Session) -> Option<ShadowView> {
    let totals = session.brain.engine.shadow();
    session.brain.engine.can_mirror().then_some(ShadowView {
        sample: session.config.shadow.sample,
        judged: totals.judged,
        skipped: totals.skipped,
        waiting: totals.waiting,
        diverged: totals.diverged,
        quarantined: totals.quarantined,
    })
}

fn reconcile(session: &Session) -> Option<ReconcileView> {
    let totals = session.brain.engine.reconciled();
    session.brain.engine.can_read_back().then_some(ReconcileView {
        inspected: totals.inspected,
        passes: totals.passes,
        last_pass: totals.last_pass.map(|time| session.seconds(time)),
        missing: totals.missing,
        altered: totals.altered,
        orphans: totals.orphans,
    })
}

/// Whether the card holds what it should.
pub(crate) fn reading(session: &mut Session) -> Reading {
    let card = card(session);
    let tables = card.iter().flat_map(|card| &card.tables);
    Reading {
        places: tables.map(|table| u64::from(table.capacity)).sum(),
        card: card.map(|card| card.name),
        entries: session.brain.engine.totals().entries,
        read: reconcile(session),
    }
}

pub(super) fn card(session: &mut Session) -> Option<CardView> {
    let (name, health) = session.forwarder.card(session.now)?;
    let tables = session.brain.engine.tables();
    let recovery = session.forwarder.recovery();
    Some(CardView {
        name,
        health,
        standing: recovery.map_or_else(|| "gone".to_owned(), Recovery::describe),
        failures: recovery.map_or(0, Recovery::failures),
        last_failure: recovery.and_then(Recovery::last).map(str::to_owned),
        tables: tables
            .into_iter()
            .map(|table| TableView {
                name: table.name,
                used: table.used,
                capacity: table.capacity,
                mask: table.mask.as_ref().map(mask_text),
            })
            .collect(),
    })
}

/// The fields of a mask, each with the number of bits if not all of them: `in_port, nw_dst/20`.
fn mask_text(mask: &Line) -> String {
    let mask = Key { head: *mask, tail: Line::ZERO };
    let fields = FIELDS.iter().filter(|spec| mask.get(spec.field) != 0);
    let texts: Vec<String> = fields
        .map(|spec| {
            let bits = mask.get(spec.field);
            if bits == spec.field.full_mask() {
                spec.name.to_owned()
            } else {
                format!("{}/{}", spec.name, bits.count_ones())
            }
        })
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinpath_flow::field::Field;

    #[test]
    fn a_mask_names_its_fields_and_how_many_bits_of_them() {
        let mask = Key::ZERO.with(Field::InPort, 0xffff).with(Field::IpDst, 0xffff_f000);
        assert_eq!(mask_text(&mask.head), "in_port, ip_dst/20");
        assert_eq!(mask_text(&Line::ZERO), "");
    }
}

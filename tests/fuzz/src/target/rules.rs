//! Text as rules, as what to delete, and as a packet. What is read prints, and the print is read as
//! the same again; the software path does with packets what the specification does.

use std::sync::Arc;
use twinpath_fallback::{Outbox, PacketPool, Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::pipeline::{Pipeline, PlacedRule};
use twinpath_flow::port::{PortNo, PortTable};
use twinpath_flow::reference;
use twinpath_flow::rule::RuleId;
use twinpath_flow::sample::{self, Random, Tunnels};
use twinpath_flow::text::{
    ParsedRule, parse_packet, parse_rule, parse_rules, parse_selector, rule_text,
};
use twinpath_flow::time::Time;

/// Packets tried on the rules besides the one the text may be.
const PACKETS: usize = 6;

/// Bytes: text.
pub(super) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let ports = sample::port_table(&mut Random::new(2), Tunnels::Some);
    let packet = parse_packet(&text, &ports).ok();
    if let Some(packet) = &packet {
        assert!(ports.physical().any(|port| port.number == packet.in_port));
    }
    let selector = parse_selector("selection", &text, &ports).ok();
    let Ok(parsed) = parse_rules("rules", &text, &ports) else { return };
    for ParsedRule { rule, .. } in &parsed {
        if let Some(selector) = &selector {
            let _ = selector.selects(rule);
        }
        for names in [None, Some(&*ports)] {
            let printed = rule_text(rule, names).to_string();
            match parse_rule("printed", &printed, &ports) {
                Ok(again) => assert_eq!(again.rule, *rule, "{printed}"),
                Err(error) => panic!("{printed}: {error}"),
            }
        }
    }
    let placed = (1..)
        .zip(&parsed)
        .map(|(id, parsed)| PlacedRule { id: RuleId(id), rule: Arc::new(parsed.rule.clone()) });
    let pipeline = Arc::new(Pipeline::new(Arc::clone(&ports), placed));
    let mut random = Random::new(data.len() as u64);
    let mut frames: Vec<(PortNo, Vec<u8>)> =
        (0..PACKETS).map(|_| sample::frame(&mut random, &ports)).collect();
    frames.extend(packet.map(|packet| (packet.in_port, packet.frame)));
    compare(&pipeline, &ports, &frames);
}

fn compare(pipeline: &Arc<Pipeline>, ports: &PortTable, frames: &[(PortNo, Vec<u8>)]) {
    let settings = Settings { cache_slots: 64, ..Settings::default() };
    let mut software = SoftwarePath::new(settings, Generation(0), Arc::clone(pipeline));
    let mut pool = PacketPool::new(32);
    for (port, frame) in frames {
        let wanted = reference::process(pipeline, frame, *port);
        // A whole burst has room for so many copies only.
        if wanted.outputs.len() > 16 || ports.find(*port).is_none() {
            continue;
        }
        let mut packet = pool.take().expect("all come back");
        assert!(packet.fill(frame), "sample frames fit");
        packet.port = *port;
        let mut out = Outbox::default();
        software.process(Time(1), &mut vec![packet], &mut pool, &mut out);
        let mut sent: Vec<(PortNo, Vec<u8>)> =
            out.transmissions.iter().map(|sent| (sent.leaves_by, sent.frame().to_vec())).collect();
        let mut expected: Vec<(PortNo, Vec<u8>)> = wanted.outputs.into_iter().collect();
        // Order counts per port only.
        sent.sort_by_key(|(port, _)| *port);
        expected.sort_by_key(|(port, _)| *port);
        assert_eq!(sent, expected);
        out.clear(&mut pool);
    }
}

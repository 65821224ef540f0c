//! `docs/nic-abi.md` suffices: a Python program written from it alone reads the entries out of a card and
//! predicts what the simulated card does to frames.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use twinpath_abi::tunnel::{TunnelImage, TunnelKind};
use twinpath_flow::card::{Reason, TableId};
use twinpath_flow::port::{OuterTos, PortNo, PortTable, Tunnel, TunnelKind as FlowKind};
use twinpath_tests::bench_card::Reaction;
use twinpath_tests::readings::{World, hex};

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reader/twin.py");
/// Worlds × frames: 1,000 predictions.
const WORLDS: u64 = 10;
const FRAMES: usize = 100;

/// Index of a physical port in the card.
fn index(ports: &PortTable, number: PortNo) -> usize {
    ports.physical().position(|port| port.number == number).expect("a physical port")
}

fn tunnel_image(ports: &PortTable, number: PortNo, tunnel: &Tunnel) -> TunnelImage {
    TunnelImage {
        number: number.0,
        kind: match tunnel.kind {
            FlowKind::Vxlan => TunnelKind::Vxlan,
            FlowKind::Geneve => TunnelKind::Geneve,
            FlowKind::Gtpu => TunnelKind::Gtpu,
        },
        over: u16::try_from(index(ports, tunnel.over)).expect("at most 64 ports"),
        udp_port: tunnel.kind.udp_port(),
        local_ip: tunnel.local_ip.octets(),
        remote_ip: tunnel.remote_ip.map(|ip| ip.octets()),
        local_mac: tunnel.local_mac,
        peer_mac: tunnel.peer_mac,
        tos: match tunnel.tos {
            OuterTos::Fixed(tos) => Some(tos),
            OuterTos::Inherit => None,
        },
        ttl: tunnel.ttl,
        qfi: tunnel.qfi,
    }
}

/// The card's tables and entries, as they were written to it.
fn card(world: &mut World) -> Value {
    let ports = &world.pipeline.ports;
    let port = |port: &twinpath_flow::port::Port| json!({"number": port.number.0, "mtu_in": port.mtu_in, "mtu_out": port.mtu_out});
    let described: Vec<Value> = ports.physical().map(port).collect();
    let tunnels = ports.tunnels();
    let tunnels: Vec<String> = tunnels
        .map(|(number, tunnel)| hex(&tunnel_image(ports, number, tunnel).encode()))
        .collect();
    let mut banks = Vec::new();
    let mut entries = Vec::new();
    for (table, (slots, places)) in world.card.geometry().into_iter().enumerate() {
        let id = TableId(u8::try_from(table).expect("few tables"));
        for place in 0..places {
            if let Some(image) = world.card.read_entry(id, place) {
                entries.push(json!({"table": table, "place": place, "image": hex(&image)}));
            }
        }
        if let Some(slots) = slots {
            let mask = if table == 0 { [0xff; 64] } else { [0; 64] };
            banks.push(json!({"slots": slots, "stash": places - 4 * slots, "mask": hex(&mask)}));
        }
    }
    json!({"ports": described, "tunnels": tunnels, "banks": banks, "entries": entries})
}

fn reaction(ports: &PortTable, reaction: Reaction) -> Value {
    let host: Vec<Value> = reaction
        .host
        .iter()
        .map(|(reason, frame)| {
            let reason = match reason {
                Reason::NoEntry => "no_entry",
                Reason::Exception => "exception",
                Reason::ToHost => "to_host",
                Reason::Mirror => "mirror",
            };
            json!([reason, hex(frame)])
        })
        .collect();
    let outputs: Vec<Value> = reaction
        .outputs
        .iter()
        .map(|(port, frame)| json!([index(ports, *port), hex(frame)]))
        .collect();
    json!({"host": host, "outputs": outputs})
}

#[test]
fn a_reader_written_from_the_document_predicts_the_card() {
    let (mut cases, mut reactions) = (Vec::new(), Vec::new());
    for seed in 0..WORLDS {
        let mut world = World::new(seed);
        let frames = world.frames(FRAMES);
        for (port, frame) in &frames {
            world.check(seed, *port, frame);
        }
        let ports = world.pipeline.ports.clone();
        let described = card(&mut world);
        let mut given = Vec::new();
        for (port, frame) in &frames {
            given.push(json!([index(&ports, *port), hex(frame)]));
            reactions.push(reaction(&ports, world.card.receive(*port, frame)));
        }
        cases.push(json!({"card": described, "frames": given}));
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("card_document.json");
    fs::write(&file, Value::from(cases).to_string()).expect("the target folder is writable");
    let run = Command::new("python3").arg(READER).arg(&file).output();
    let run = run.expect("python3 is missing: run ./check tools");
    assert!(run.status.success(), "reader: {}", String::from_utf8_lossy(&run.stderr));
    let predicted: Vec<Value> =
        serde_json::from_slice(&run.stdout).expect("the reader prints JSON");
    assert_eq!(predicted.len(), reactions.len());
    let decided = reactions.iter().filter(|reaction| reaction["host"] == json!([])).count();
    assert!(decided * 3 > reactions.len(), "the card decided {decided} frames");
    for (at, (predicted, seen)) in predicted.iter().zip(&reactions).enumerate() {
        assert_eq!(predicted, seen, "frame {} of world {}", at % FRAMES, at / FRAMES);
    }
}

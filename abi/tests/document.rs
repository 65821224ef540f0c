//! `docs/nic-abi.md` and the crate say the same: literal vectors, registers, cited sections.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use twinpath_abi::capability::{Bank, Capability, action};
use twinpath_abi::command::{Command, EntryRef, Holding, Operand};
use twinpath_abi::completion::{Completion, Counters};
use twinpath_abi::entry::{EditImage, EntryImage, FOREVER, Push};
use twinpath_abi::hash;
use twinpath_abi::key::KeyBytes;
use twinpath_abi::port::{NO_LIMIT, SetPort};
use twinpath_abi::receive::{MirrorOrder, MirrorPart, Receive, ReceiveReason};
use twinpath_abi::register::{Access, GLOBAL, port, queue};
use twinpath_abi::sweep::Record;
use twinpath_abi::transmit::Transmit;
use twinpath_abi::tunnel::{TunnelImage, TunnelKind};

const DOCUMENT: &str = include_str!("../../docs/nic-abi.md");

/// The document's vectors by name: `**name**` and a block of hex bytes after it.
fn documented() -> BTreeMap<String, Vec<u8>> {
    let section = DOCUMENT.split("\n## 14 ").nth(1).expect("section 14 exists");
    let mut vectors = BTreeMap::new();
    for part in section.split("\n**").skip(1) {
        let (name, rest) = part.split_once("**").expect("the name ends");
        let block = rest.split("```").nth(1).expect("a block follows").trim_start_matches("hex");
        let bytes =
            block.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex bytes"));
        vectors.insert(name.to_owned(), bytes.collect());
    }
    vectors
}

/// Without zeros at the end, as the document writes them.
fn trimmed(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes[..end].to_vec()
}

const AT: EntryRef = EntryRef { table: 2, place: 0x1234, id: 0x0a0b_0c0d };

fn commands() -> Vec<(&'static str, Command)> {
    let image = Operand::Dma(0x1_2345_6780);
    let port = SetPort { index: 3, number: 12, enabled: true, mtu_in: 9216, mtu_out: NO_LIMIT };
    vec![
        ("nop", Command::Nop),
        ("set-mask", Command::SetMask { table: 2, mask: image }),
        ("add", Command::Add { at: AT, holding: Holding::Hold, image }),
        ("modify", Command::Modify { at: AT, image: Operand::Window }),
        ("delete", Command::Delete { at: AT, until: None }),
        ("delete-until", Command::Delete { at: AT, until: Some(7) }),
        ("move", Command::Move { at: AT, target: 0x4321 }),
        ("commit", Command::Commit { generation: 7, ends: Some(2) }),
        ("release", Command::Release { at: AT, indices: image }),
        ("sweep", Command::Sweep { first: 64, address: 0x1_2345_6780, length: 2048 }),
        ("set-port", Command::SetPort(port)),
        ("set-tunnel", Command::SetTunnel { index: 5, image }),
        ("read-entry", Command::ReadEntry { table: 2, place: 9, image }),
    ]
}

/// 10.0.0.1:1000 to 10.0.0.2:2000 over UDP, in port 1.
fn key() -> KeyBytes {
    let mut key = [0; 64];
    key[..9].copy_from_slice(&[0, 1, 8, 0, 0, 0, 17, 0, 64]);
    key[36..40].copy_from_slice(&[10, 0, 0, 1]);
    key[52..60].copy_from_slice(&[10, 0, 0, 2, 0x03, 0xe8, 0x07, 0xd0]);
    key
}

/// TTL - 1, DSCP 46, new MAC addresses and VLAN 5, out of ports 0 and 9 and tunnel 5.
fn entry() -> EntryImage {
    let mut set = [0; 64];
    set[7] = 0xb8;
    set[12..24].copy_from_slice(&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8]);
    set[60..].copy_from_slice(&[0, 0, 0x12, 0x34]);
    EntryImage {
        matching: key(),
        mask: [0; 64],
        set,
        edit: EditImage {
            byte_mask: 0xf000_0000_00ff_f000,
            tos_mask: 0xfc,
            tci_mask: 0,
            ttl_decrements: 1,
            ttl_threshold: Some(1),
            pops: 1,
            pushes: [Some(Push { tpid: 0x8100, tci: 5 }), None],
            outputs: 0x201,
            tunnel: Some(5),
            tun_dst: Some([192, 0, 2, 1]),
            qfi: Some(0x89),
            to_host: Some(0xdead),
        },
        from: 6,
        until: FOREVER,
        id: AT.id,
        counter: 77,
    }
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    let counters = Counters { packets: 0x1_0000_0002, bytes: 0x30, last_hit: 0x99 };
    let mut delivered = [0; 16];
    delivered[0] = 10;
    delivered[1] = 0x11;
    let completion = Completion {
        delivered,
        tag: 0x0102_0304_0506_0708,
        counters: Some(counters),
        as_of: 0xaa,
        epoch: 3,
        entry: AT.id,
        detail: 64,
        status: 5,
        opcode: 8,
        complete: true,
        consumer: 0x21,
    };
    let receive = Receive {
        timestamp: 0x1122,
        length: 60,
        generation: 6,
        entry: AT.id,
        mark: 0xdead,
        port: 3,
        reason: Some(ReceiveReason::ToHost),
        mirror: MirrorPart::NONE,
        sequence: 18,
    };
    let part = MirrorPart {
        part: 0,
        left_by: 0,
        parts: 2,
        order: Some(MirrorOrder::Successor),
        sample: 21,
        packets: 22,
        bytes: 1320,
    };
    let mirrored =
        Receive { reason: Some(ReceiveReason::Mirror), mirror: part, mark: 0, ..receive };
    let tunnel = TunnelImage {
        number: 12,
        kind: TunnelKind::Gtpu,
        over: 1,
        udp_port: 2152,
        local_ip: [192, 0, 2, 2],
        remote_ip: Some([192, 0, 2, 1]),
        local_mac: [2, 0, 0, 0, 0, 1],
        peer_mac: [2, 0, 0, 0, 0, 2],
        tos: None,
        ttl: 64,
        qfi: Some(9),
    };
    vec![
        ("entry", entry().encode().to_vec()),
        ("completion", completion.encode(true).to_vec()),
        ("receive", receive.encode().to_vec()),
        ("receive, mirrored", mirrored.encode().to_vec()),
        ("transmit", Transmit { address: 0x1_0000_0800, length: 60, port: 3 }.encode().to_vec()),
        ("record", Record { counters, entry: AT.id }.encode().to_vec()),
        ("tunnel", tunnel.encode().to_vec()),
    ]
}

fn capability() -> Capability {
    Capability {
        ports: 8,
        queues: 4,
        ternary: 256,
        counters: 4096,
        hold_frames: 64,
        hold_entries: 1024,
        tunnels: 64,
        ring_log2_max: [12, 12, 14, 14],
        vectors: 5,
        actions: action::ALL,
        ttl_decrements: 255,
        counter_staleness_ns: 0,
        reset_ms_max: 100,
        command_ms_max: 1000,
        port_frames: 4096,
        clock_ns: 1,
        packet_latency_ns: 0,
        command_latency_ns: 2000,
        command_interval_ns: 200,
        banks: vec![Bank { slots: 378, stash: 24 }, Bank { slots: 47, stash: 4 }],
    }
}

fn hashes(key: &KeyBytes) -> Vec<u8> {
    hash::ways(key).iter().flat_map(|hash| hash.to_be_bytes()).collect()
}

/// Every vector the document must have, from the code.
fn encoded() -> BTreeMap<String, Vec<u8>> {
    let mut vectors = BTreeMap::new();
    for (name, command) in commands() {
        vectors.insert(format!("command {name}"), trimmed(&command.encode(0x1122_3344_5566)));
    }
    for (name, bytes) in records() {
        vectors.insert(name.to_owned(), trimmed(&bytes));
    }
    vectors.insert("capability".to_owned(), trimmed(&capability().encode()));
    let mut bytes = [0; 64];
    for (index, byte) in (0..).zip(&mut bytes) {
        *byte = index;
    }
    vectors.insert("hash of zeros".to_owned(), hashes(&[0; 64]));
    vectors.insert("hash of 00 to 3f".to_owned(), hashes(&bytes));
    vectors.insert("hash of the entry's match value".to_owned(), hashes(&key()));
    vectors
}

#[test]
fn every_vector_of_the_document_is_what_the_code_encodes() {
    let (documented, encoded) = (documented(), encoded());
    let mut wanted = String::new();
    for (name, bytes) in &encoded {
        wanted += &format!("\n**{name}**\n\n```hex\n");
        for line in bytes.chunks(32) {
            let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            wanted += &format!("{}\n", line.join(" "));
        }
        wanted += "```\n";
    }
    assert!(documented == encoded, "the code encodes:\n{wanted}");
}

#[test]
fn what_the_document_shows_decodes_to_what_was_encoded() {
    let vectors = documented();
    let padded = |name: &str| {
        let mut bytes = vectors[name].clone();
        bytes.resize(1024, 0);
        bytes
    };
    for (name, command) in commands() {
        let bytes = padded(&format!("command {name}"));
        let descriptor = bytes.first_chunk().unwrap();
        assert_eq!(Command::decode(descriptor), Ok(command), "{name}");
        assert_eq!(Command::tag(descriptor), 0x1122_3344_5566);
    }
    assert_eq!(EntryImage::decode(padded("entry").first_chunk().unwrap()), Ok(entry()));
    let block = padded("capability");
    assert_eq!(Capability::decode(block.first_chunk().unwrap()), Ok(capability()));
    let tunnel = TunnelImage::decode(padded("tunnel").first_chunk().unwrap()).unwrap().unwrap();
    assert_eq!(trimmed(&tunnel.encode()), vectors["tunnel"]);
    let completion = Completion::decode(padded("completion").first_chunk().unwrap());
    assert_eq!(trimmed(&completion.encode(true)), vectors["completion"]);
    for name in ["receive", "receive, mirrored"] {
        let receive = Receive::decode(padded(name).first_chunk().unwrap());
        assert_eq!(trimmed(&receive.encode()), vectors[name], "{name}");
    }
    let record = Record::decode(padded("record").first_chunk().unwrap());
    assert_eq!(trimmed(&record.encode()), vectors["record"]);
    let transmit = Transmit::decode(padded("transmit").first_chunk().unwrap());
    assert_eq!(trimmed(&transmit.encode()), vectors["transmit"]);
}

#[test]
fn every_register_stands_in_the_document_at_its_offset() {
    for register in GLOBAL {
        let row = format!("| 0x{:04x} | {} |", register.offset, register.name);
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    for register in queue::ALL {
        let writer = match register.access {
            Access::Card => "card",
            Access::Host => "host",
        };
        let (offset, name, bytes) = (register.offset, register.name, register.bytes);
        let row = format!("| 0x{offset:02x} | {name} | {bytes} | {writer} |");
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    for register in port::ALL {
        let place = format!("0x{:02x}", register.offset);
        let rows = DOCUMENT.lines().filter(|line| line.starts_with('|'));
        let mut rows = rows.filter(|line| line.contains(register.name) && line.contains(&place));
        assert!(rows.next().is_some(), "{register:?}");
    }
}

#[test]
fn every_section_that_the_code_cites_exists() {
    let headings: BTreeSet<String> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for folder in ["abi/src", "hw-sim/src"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // Sections of other documents are cited with the document's name before the sign.
            let lines = text.lines().filter(|line| !line.contains("RFC"));
            for cited in lines.flat_map(|line| line.split('§').skip(1)) {
                let number = |c: char| c.is_ascii_digit() || c == '.';
                let end = cited.find(|c| !number(c)).unwrap_or(cited.len());
                let section = cited[..end].trim_end_matches('.');
                assert!(headings.contains(section), "{}: §{section}", path.display());
            }
        }
    }
}

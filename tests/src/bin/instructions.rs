//! `bench/instructions`: forwards so many packets of a fixed case, for somebody who counts instructions.
//!
//! What is counted is [`counted`]: the software path from a full burst to the buffers given back.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "its lines are its purpose")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use twinpath_fallback::{Kernel, Outbox, Packet, PacketPool, Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::pipeline::Pipeline;
use twinpath_flow::port::{Port, PortNo, PortTable};
use twinpath_flow::text::rules::parse_rules;
use twinpath_flow::time::Time;
use twinpath_offload::RuleStore;

/// Packets of a burst.
const BURST: usize = 32;

const USAGE: &str = "\
usage: instructions CASE KERNEL PACKETS

CASE     one_rule, targets, new_flows
KERNEL   scalar, avx2, avx512";

/// Rules and frames.
struct Case {
    rules: String,
    /// Source and target address and target port of each frame.
    frames: Vec<(u32, u32, u16)>,
    /// Whether all flows are there before counting begins.
    warm: bool,
}

/// What every rule does.
const REWRITE: &str = "mod_dl_dst:02:00:00:00:00:01,dec_ttl,output:1";

impl Case {
    fn named(name: &str, packets: usize) -> Option<Self> {
        let number = |value: usize| u32::try_from(value).expect("few frames");
        let (mut rules, warm) = (String::new(), name != "new_flows");
        let frames = match name {
            "one_rule" => {
                let _ = writeln!(rules, "ip,actions={REWRITE}");
                (0..1000).map(|i| (0x0a00_0000 + i, 0xc0a8_0000 + i * 7, 80)).collect()
            }
            "targets" => {
                for i in 0..2000 {
                    let (high, low) = (i >> 8, i & 255);
                    let _ = writeln!(rules, "ip,nw_dst=192.168.{high}.{low},actions={REWRITE}");
                }
                let _ = writeln!(rules, "priority=1,actions=output:1");
                (0..20_000).map(|i| (0x0a00_0000 + i, 0xc0a8_0000 + i * 7 % 13_333, 80)).collect()
            }
            "new_flows" => {
                for i in 0..100 {
                    let port = 2000 + i;
                    let _ = writeln!(rules, "udp,tp_dst={port},actions=goto_table:1");
                    let net = format!("192.168.{i}.0/{}", 24 + i % 4);
                    let _ = writeln!(rules, "table=1,ip,nw_dst={net},actions={REWRITE}");
                }
                let target = |i: usize| 0xc0a8_0001 + (number(i / 100) << 8);
                let port = |i: usize| 2000 + u16::try_from(i % 100).expect("below 100");
                (0..packets.min(10_000)).map(|i| (0x0a00_0000, target(i), port(i))).collect()
            }
            _ => return None,
        };
        Some(Self { rules, frames, warm })
    }

    fn pipeline(&self) -> Pipeline {
        let ports =
            Arc::new(PortTable::new((1..=2).map(Port::physical).collect()).expect("two ports"));
        let parsed = parse_rules("case", &self.rules, &ports).expect("the rules of a case");
        let mut store = RuleStore::new();
        store.replace(parsed.into_iter().map(|parsed| parsed.rule).collect());
        store.pipeline(ports)
    }
}

/// A UDP frame of 60 bytes.
fn frame(source: u32, target: u32, port: u16) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..16].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
    frame[16..24].copy_from_slice(&[0, 46, 0, 0, 0x40, 0, 64, 17]);
    frame[26..30].copy_from_slice(&source.to_be_bytes());
    frame[30..34].copy_from_slice(&target.to_be_bytes());
    frame[34..36].copy_from_slice(&1024_u16.to_be_bytes());
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame[38..40].copy_from_slice(&26_u16.to_be_bytes());
    frame
}

/// What is counted. Not inlined, so that a counter finds it by its name.
#[inline(never)]
fn counted(
    path: &mut SoftwarePath,
    burst: &mut Vec<Packet>,
    pool: &mut PacketPool,
    out: &mut Outbox,
) {
    path.process(Time(0), burst, pool, out);
    out.clear(pool);
}

/// The same, not counted.
#[inline(never)]
fn warm_up(
    path: &mut SoftwarePath,
    burst: &mut Vec<Packet>,
    pool: &mut PacketPool,
    out: &mut Outbox,
) {
    path.process(Time(1), burst, pool, out);
    out.clear(pool);
}

fn run(case: &Case, kernel: Kernel, packets: usize) {
    let settings = Settings { hit_samples: 0, kernel: Some(kernel), ..Settings::default() };
    let mut path = SoftwarePath::new(settings, Generation(0), Arc::new(case.pipeline()));
    let mut pool = PacketPool::new(2 * BURST);
    let (mut burst, mut out) = (Vec::with_capacity(BURST), Outbox::default());
    let frames: Vec<_> = case.frames.iter().map(|(s, t, port)| frame(*s, *t, *port)).collect();
    let mut next = 0;
    let mut fill = |burst: &mut Vec<Packet>, pool: &mut PacketPool| {
        for _ in 0..BURST {
            let mut packet = pool.take().expect("a burst fits");
            assert!(packet.fill(&frames[next % frames.len()]), "frames are short");
            packet.port = PortNo(2);
            burst.push(packet);
            next += 1;
        }
    };
    if case.warm {
        for _ in 0..(2 * frames.len()).div_ceil(BURST).max(2048) {
            fill(&mut burst, &mut pool);
            warm_up(&mut path, &mut burst, &mut pool, &mut out);
        }
    }
    for _ in 0..packets / BURST {
        fill(&mut burst, &mut pool);
        counted(&mut path, &mut burst, &mut pool, &mut out);
    }
    println!("{} flows under {} masks", path.flow_count(), path.mask_count());
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let known = match words.as_slice() {
        [case, kernel, packets] => packets.parse().ok().and_then(|packets| {
            let kernel: Kernel = kernel.parse().ok()?;
            Some((Case::named(case, packets)?, kernel, packets))
        }),
        _ => None,
    };
    let Some((case, kernel, packets)) = known else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    run(&case, kernel, packets);
    ExitCode::SUCCESS
}

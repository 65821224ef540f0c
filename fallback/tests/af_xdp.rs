//! AF_XDP wires against the kernel, on veth pairs: every frame arrives byte for byte, from wire to
//! wire only descriptors move, checksums left to a card are completed, faults come with remedies.
//! Needs root, as `./check test` in CI has.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics; clippy misses helpers")]

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use twinpath_fallback::wire::{Opened, Wire, WireError, WireSpec};
use twinpath_fallback::{Packet, PacketPool};
use twinpath_flow::time::Time;

/// Longest wait for something that should come, in hundredths of a second.
const PATIENCE: u32 = 500;

fn run(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}(these tests need root)");
}

fn pause() {
    // An interrupted wait is only a shorter one.
    let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
}

/// A veth pair without IPv6, deleted on drop.
struct Veth {
    left: String,
    right: String,
}

impl Veth {
    fn new(tag: &str) -> Self {
        let id = std::process::id() % 100_000;
        let veth = Self { left: format!("xl{tag}{id}"), right: format!("xr{tag}{id}") };
        run(&format!("ip link add {} type veth peer name {}", veth.left, veth.right));
        for name in [&veth.left, &veth.right] {
            run(&format!("sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1"));
            run(&format!("ip link set {name} up"));
        }
        for name in [&veth.left, &veth.right] {
            let path = format!("/sys/class/net/{name}/operstate");
            let is_up = || std::fs::read_to_string(&path).unwrap().trim() == "up";
            (0..PATIENCE).find(|_| is_up() || (pause(), false).1).expect("the veth comes up");
        }
        veth
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        Command::new("ip").args(["link", "del", &self.left]).stderr(Stdio::null()).status().ok();
    }
}

fn try_open(text: &str) -> Result<Opened, WireError> {
    text.parse::<WireSpec>().unwrap().open(Path::new("/"))
}

fn open(text: &str) -> Box<dyn Wire> {
    try_open(text).unwrap_or_else(|error| panic!("{error} (these tests need root)")).wire
}

fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.extend(number.to_be_bytes());
    frame.extend((18..length).map(|i| u8::try_from((i * 7) % 256).unwrap()));
    frame
}

/// Receives until `count` packets have come.
fn receive(wire: &mut dyn Wire, pool: &mut PacketPool, count: usize) -> Vec<Packet> {
    let mut packets = Vec::new();
    for _ in 0..PATIENCE {
        while wire.receive_packets(Time(5), 64, pool, &mut packets).unwrap() > 0 {}
        if packets.len() >= count {
            return packets;
        }
        let descriptor = wire.descriptor().unwrap();
        let hundredth = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&hundredth)).unwrap();
    }
    panic!("{} packets of {count} came; {:?}", packets.len(), wire.counters());
}

fn packets(frames: &[Vec<u8>], pool: &mut PacketPool) -> Vec<Packet> {
    let filled = frames.iter().map(|frame| {
        let mut packet = pool.take().unwrap();
        assert!(packet.fill(frame));
        packet
    });
    filled.collect()
}

fn exchange(mode: &str) {
    let veth = Veth::new(&mode[..1]);
    let mut a = open(&format!("xdp:{},mode={mode}", veth.left));
    let mut b = open(&format!("xdp:{},mode={mode}", veth.right));
    let mut pool = PacketPool::new(4096);
    for round in 0..40 {
        let sent: Vec<Vec<u8>> =
            (0..100).map(|i| frame(round * 100 + i, 60 + (round * 36 + i % 14) as usize)).collect();
        let mut batch = packets(&sent, &mut pool);
        a.send_packets(&mut batch, Time(0), &mut pool);
        let mut received = receive(b.as_mut(), &mut pool, sent.len());
        assert!(received.iter().map(Packet::frame).eq(sent.iter()), "{mode}: frames differ");
        // And back, out of the buffers they were received into.
        b.send_packets(&mut received, Time(0), &mut pool);
        let back = receive(a.as_mut(), &mut pool, sent.len());
        assert!(back.iter().map(Packet::frame).eq(sent.iter()), "{mode}: frames differ");
        pool.give_many(back.into_iter());
    }
    let (to, from) = (a.counters(), b.counters());
    assert_eq!((to.sent, from.sent), (from.received, to.received));
    assert_eq!((to.sent.packets, to.send_dropped, from.receive_dropped), (4_000, 0, 0));
    a.flush().unwrap();
    b.flush().unwrap();
    let mut none = Vec::new();
    a.receive_packets(Time(0), 1, &mut pool, &mut none).unwrap();
    b.receive_packets(Time(0), 1, &mut pool, &mut none).unwrap();
    assert_eq!(pool.room(), 4096, "every buffer came back");
}

#[test]
fn two_ends_exchange_frames_byte_for_byte_in_every_mode_a_veth_has() {
    exchange("auto");
    exchange("copy");
    exchange("skb");
}

#[test]
fn byte_wise_calls_reach_a_packet_socket_and_come_from_it() {
    let veth = Veth::new("p");
    let mut a = open(&format!("xdp:{}", veth.left));
    let mut b = open(&format!("packet:{}", veth.right));
    let mut pool = PacketPool::new(64);
    for (number, length) in [(1, 60), (2, 1514), (3, 61)] {
        let sent = frame(number, length);
        a.send(&sent, Time(0));
        a.flush().unwrap();
        assert_eq!(receive(b.as_mut(), &mut pool, 1)[0].frame(), sent);
        b.send(&sent, Time(0));
        b.flush().unwrap();
        let mut seen = Vec::new();
        for _ in 0..PATIENCE {
            a.receive(Time(1), 9, &mut |frame, _| seen.push(frame.to_vec())).unwrap();
            if !seen.is_empty() {
                break;
            }
            pause();
        }
        assert_eq!(seen, [sent]);
    }
}

#[test]
fn more_than_the_ring_holds_is_sent_or_counted() {
    let veth = Veth::new("m");
    let mut a = open(&format!("xdp:{}", veth.left));
    let mut pool = PacketPool::new(8_000);
    let sent: Vec<Vec<u8>> = (0..6_000).map(|number| frame(number, 64)).collect();
    let mut batch = packets(&sent, &mut pool);
    a.send_packets(&mut batch, Time(0), &mut pool);
    let counters = a.counters();
    assert_eq!(counters.sent.packets + counters.send_dropped, 6_000);
    let mut long = packets(&[frame(0, 5_000)], &mut pool);
    a.send_packets(&mut long, Time(0), &mut pool);
    assert_eq!(a.counters().send_dropped, counters.send_dropped + 1, "above a page");
}

#[test]
fn faults_are_told_with_their_remedies() {
    let veth = Veth::new("f");
    let message = |text: &str| try_open(text).unwrap_err().to_string();
    let left = &veth.left;
    assert!(message(&format!("xdp:{left},mode=zerocopy")).ends_with("use mode=auto or mode=copy"));
    assert!(message(&format!("xdp:{left},queue=7")).contains("no such queue"));
    assert!(message("xdp:nosuchif0").contains("no interface of that name"));
    let held = open(&format!("xdp:{left}"));
    let busy = message(&format!("xdp:{left}"));
    assert!(busy.contains("in use") || busy.contains("another XDP program"), "{busy}");
    drop(held);
    // The end of the wire leaves nothing on the interface.
    let mut again = open(&format!("xdp:{left}"));
    run(&format!("ip link del {left}"));
    let gone = (0..10_000).find_map(|_| again.receive(Time(0), 1, &mut |_, _| {}).err());
    assert_eq!(gone.unwrap().to_string(), format!("xdp:{left}: the interface was removed"));
    assert!(again.is_finished() && again.descriptor().is_none());
}

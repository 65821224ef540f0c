//! TAP and packet wires against the kernel: what one side sends the other receives, byte for byte,
//! with VLAN tags, checksums and large frames put right. Needs root, as `./check test` in CI has.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics; clippy misses helpers")]

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use twinpath_fallback::wire::{Opened, Wire, WireSpec};
use twinpath_flow::time::Time;

/// Longest wait for something that should come.
const WAIT_SECONDS: i64 = 5;

/// Runs a command that must succeed.
fn run(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `./check tools` installs it", words[0]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{line}: {errors}(these tests need root: `sudo ./check test`)"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until the kernel has begun to pass frames; it does so a moment after `up`.
fn wait_until_running(name: &str) {
    let path = format!("/sys/class/net/{name}/operstate");
    for _ in 0..WAIT_SECONDS * 100 {
        if std::fs::read_to_string(&path).unwrap().trim() == "up" {
            return;
        }
        poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 })).unwrap();
    }
    panic!("{name} does not come up");
}

/// An interface that is deleted on drop, if it is still there.
struct Link(String);

impl Drop for Link {
    fn drop(&mut self) {
        Command::new("ip").args(["link", "del", &self.0]).stderr(Stdio::null()).status().ok();
    }
}

/// A veth pair: `wire_end` stays here, `far_end` (10.9.0.2, neighbour 10.9.0.1 known) is in a
/// namespace. Both go at the end.
struct Veth {
    wire_end: String,
    namespace: String,
}

impl Veth {
    fn new(tag: &str) -> Self {
        let id = format!("{tag}{}", std::process::id() % 100_000);
        let (wire_end, namespace) = (format!("tw{id}"), format!("twns{id}"));
        run(&format!("ip netns add {namespace}"));
        let veth = Self { wire_end, namespace };
        let Self { wire_end, namespace } = &veth;
        run(&format!("ip link add {wire_end} type veth peer name far netns {namespace}"));
        // No IPv6, so that only what a test sends is on the wire.
        for name in ["all", "default", "far"] {
            veth.inside(&format!("sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1"));
        }
        run(&format!("sysctl -qw net.ipv6.conf.{wire_end}.disable_ipv6=1"));
        run(&format!("ip link set {wire_end} up"));
        veth.inside("ip link set far address 02:00:00:00:00:02 up");
        veth.inside("ip address add 10.9.0.2/24 dev far");
        veth.inside("ip neighbour add 10.9.0.1 lladdr 02:00:00:00:00:01 dev far");
        wait_until_running(wire_end);
        veth
    }

    fn inside(&self, line: &str) -> String {
        run(&format!("ip netns exec {} {line}", self.namespace))
    }

    fn open(&self) -> Box<dyn Wire> {
        open(&format!("packet:{}", self.wire_end)).wire
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for line in [vec!["link", "del", &self.wire_end], vec!["netns", "del", &self.namespace]] {
            Command::new("ip").args(line).stderr(Stdio::null()).status().ok();
        }
    }
}

fn open(text: &str) -> Opened {
    let spec: WireSpec = text.parse().unwrap();
    spec.open(Path::new("/")).unwrap_or_else(|error| panic!("{error} (these tests need root)"))
}

fn wait_for(descriptor: BorrowedFd<'_>, what: PollFlags) -> bool {
    let timeout = Timespec { tv_sec: WAIT_SECONDS, tv_nsec: 0 };
    poll(&mut [PollFd::new(&descriptor, what)], Some(&timeout)).unwrap() > 0
}

fn wait(descriptor: BorrowedFd<'_>) -> bool {
    wait_for(descriptor, PollFlags::IN)
}

/// Receives until `enough` holds of the frames seen, within the deadline.
fn receive_until(wire: &mut dyn Wire, enough: impl Fn(&[Vec<u8>]) -> bool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !enough(&frames) && wait(wire.descriptor().unwrap()) {
        let mut sink = |frame: &[u8], _| frames.push(frame.to_vec());
        wire.receive(Time(1), 64, &mut sink).unwrap();
    }
    assert!(enough(&frames), "only {} frames came", frames.len());
    frames
}

fn frame(kind: [u8; 2], length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(kind);
    frame.extend((14..length).map(|i| u8::try_from(i % 256).unwrap()));
    frame
}

/// The Internet checksum of whole words and a rest; 0 when `bytes` contain their right checksum.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |byte| u32::from(*byte));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

fn assert_ipv4_sums(frame: &[u8], at: usize) {
    assert_eq!(checksum(&frame[at..at + 20], 0), 0, "IPv4 header");
    let total = usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]]));
    assert_eq!(total, frame.len() - at, "IPv4 length");
    let l4 = &frame[at + 20..];
    let pseudo = u32::from(frame[at + 9]) + u32::try_from(l4.len()).unwrap();
    let pseudo = u32::from(!checksum(&frame[at + 12..at + 20], pseudo));
    assert_eq!(checksum(l4, pseudo), 0, "transport");
}

#[test]
fn two_ends_of_a_veth_exchange_frames_byte_for_byte() {
    let id = std::process::id() % 100_000;
    let (left, right) = (format!("twl{id}"), format!("twr{id}"));
    run(&format!("ip link add {left} type veth peer name {right}"));
    let _link = Link(left.clone());
    for name in [&left, &right] {
        run(&format!("sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1"));
        run(&format!("ip link set {name} up"));
    }
    wait_until_running(&left);
    wait_until_running(&right);
    let (mut a, mut b) = (open(&format!("packet:{left}")), open(&format!("packet:{right}")));
    assert!(a.notices[0].contains("offloads stay as they are"));
    let mut sent = Vec::new();
    // Untagged; tagged 0x8100 with priority; tagged 0x88a8; two tags; smallest and largest.
    let mut tagged = frame([0x81, 0x00], 200);
    tagged[14..18].copy_from_slice(&[0xb0, 0x2a, 0x08, 0x00]);
    let mut service = tagged.clone();
    service[12..14].copy_from_slice(&[0x88, 0xa8]);
    let mut double = service.clone();
    double[16..20].copy_from_slice(&[0x81, 0x00, 0x00, 0x07]);
    for one in [frame([0x88, 0xb5], 60), tagged, service, double, frame([0x88, 0xb5], 1514)] {
        sent.push(one);
    }
    for i in 0..400u16 {
        sent.push(frame([0x88, 0xb5], 60 + usize::from(i)));
    }
    for one in &sent {
        a.wire.send(one, Time(0));
    }
    // Ends: a writable socket takes at least one frame.
    while a.wire.has_queued() {
        assert!(wait_for(a.wire.descriptor().unwrap(), PollFlags::OUT));
        a.wire.flush().unwrap();
    }
    let received = receive_until(b.wire.as_mut(), |frames| frames.len() >= sent.len());
    assert!(received == sent, "frames differ");
    let (to, from) = (a.wire.counters(), b.wire.counters());
    assert_eq!((to.sent, to.send_dropped, from.receive_dropped), (from.received, 0, 0));
    // A frame longer than the interface takes is dropped and counted.
    a.wire.send(&frame([0x88, 0xb5], 1600), Time(0));
    a.wire.flush().unwrap();
    assert_eq!(a.wire.counters().send_dropped, 1);
    // What a wire sends it does not receive.
    assert_eq!(a.wire.receive(Time(0), 9, &mut |_, _| {}).unwrap(), 0);
    run(&format!("ip link del {left}"));
    let error = loop {
        assert!(wait(b.wire.descriptor().unwrap()));
        if let Err(error) = b.wire.receive(Time(0), 9, &mut |_, _| {}) {
            break error.to_string();
        }
    };
    assert_eq!(error, format!("packet:{right}: the interface was removed"));
    assert!(b.wire.is_finished() && b.wire.descriptor().is_none());
}

#[test]
fn a_checksum_the_sender_left_to_the_card_arrives_complete() {
    let veth = Veth::new("c");
    let mut wire = veth.open();
    Command::new("ip")
        .args([
            "netns",
            "exec",
            &veth.namespace,
            "bash",
            "-c",
            "echo hallo >/dev/udp/10.9.0.1/4000",
        ])
        .status()
        .unwrap();
    let is_ours = |frame: &Vec<u8>| frame[12..14] == [8, 0] && frame[36..38] == [0x0f, 0xa0];
    let frames = receive_until(wire.as_mut(), |frames| frames.iter().any(is_ours));
    assert_ipv4_sums(frames.iter().find(|frame| is_ours(frame)).unwrap(), 14);
}

#[test]
fn a_large_tcp_frame_arrives_as_segments_without_loss() {
    let veth = Veth::new("g");
    let mut wire = veth.open();
    let mut child = Command::new("ip")
        .args(["netns", "exec", &veth.namespace, "bash", "-c"])
        .arg("head -c 60000 /dev/zero | tr '\\0' 'x' > /dev/tcp/10.9.0.1/4001")
        .spawn()
        .unwrap();
    let is_syn = |frame: &Vec<u8>| frame.len() > 53 && frame[47] & 0x3f == 2;
    let syn = receive_until(wire.as_mut(), |frames| frames.iter().any(is_syn));
    let syn = syn.into_iter().find(is_syn).unwrap();
    assert_ipv4_sums(&syn, 14);
    wire.send(&synchronised(&syn), Time(0));
    wire.flush().unwrap();
    let payload = |frame: &Vec<u8>| frame.len().saturating_sub(54);
    let enough = |frames: &[Vec<u8>]| frames.iter().map(payload).sum::<usize>() > 9_000;
    for frame in receive_until(wire.as_mut(), enough) {
        assert!(frame.len() <= 14 + 20 + 20 + 1400, "{}", frame.len());
        assert_ipv4_sums(&frame, 14);
    }
    assert_eq!(wire.counters().receive_dropped, 0);
    child.kill().ok();
    child.wait().ok();
}

/// The answer with SYN and ACK to `syn`: a large window, a maximum segment size of 1,400.
fn synchronised(syn: &[u8]) -> Vec<u8> {
    let mut answer = syn[..54].to_vec();
    answer[..6].copy_from_slice(&syn[6..12]);
    answer[6..12].copy_from_slice(&syn[..6]);
    answer[16..18].copy_from_slice(&44u16.to_be_bytes());
    answer[26..30].copy_from_slice(&syn[30..34]);
    answer[30..34].copy_from_slice(&syn[26..30]);
    answer[34..36].copy_from_slice(&syn[36..38]);
    answer[36..38].copy_from_slice(&syn[34..36]);
    let sequence = u32::from_be_bytes(syn[38..42].try_into().unwrap());
    answer[38..42].copy_from_slice(&[0, 0, 1, 0]);
    answer[42..46].copy_from_slice(&(sequence + 1).to_be_bytes());
    // Six words of header.
    answer[46..50].copy_from_slice(&[0x60, 0x12, 0xff, 0xff]);
    answer.extend([2, 4, 5, 0x78]);
    answer[24..26].copy_from_slice(&[0, 0]);
    let sum = checksum(&answer[14..34], 0);
    answer[24..26].copy_from_slice(&sum.to_be_bytes());
    answer[50..52].copy_from_slice(&[0, 0]);
    let sum = checksum(&answer[34..58], u32::from(!checksum(&answer[26..34], 6 + 24)));
    answer[50..52].copy_from_slice(&sum.to_be_bytes());
    answer
}

#[test]
fn a_tap_carries_frames_both_ways() {
    let name = format!("twt{}", std::process::id() % 100_000);
    let mut tap = open(&format!("tap:{name}"));
    assert_eq!((tap.notices.len(), tap.warnings.len()), (0, 0));
    run(&format!("sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1"));
    let mut other = open(&format!("packet:{name}")).wire;
    let mut tagged = frame([0x81, 0x00], 100);
    tagged[14..18].copy_from_slice(&[0, 9, 8, 6]);
    for sent in [frame([0x88, 0xb5], 60), tagged, frame([0x88, 0xb5], 1514)] {
        other.send(&sent, Time(0));
        other.flush().unwrap();
        let has = |frames: &[Vec<u8>]| frames.contains(&sent);
        receive_until(tap.wire.as_mut(), has);
        tap.wire.send(&sent, Time(0));
        assert!(!tap.wire.has_queued());
        receive_until(other.as_mut(), has);
    }
    let busy = format!("tap:{name}").parse::<WireSpec>().unwrap().open(Path::new("/")).unwrap_err();
    assert!(busy.to_string().contains("in use by another process"), "{busy}");
    run(&format!("ip link set {name} down"));
    tap.wire.send(&frame([8, 0], 60), Time(0));
    assert_eq!(tap.wire.counters().send_dropped, 1, "an interface that is down takes nothing");
    run(&format!("ip link del {name}"));
    let error = tap.wire.receive(Time(0), 1, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.to_string(), format!("tap:{name}: the interface was removed"));
}

#[test]
fn wrong_interfaces_are_refused_with_a_remedy() {
    let message = |text: &str| {
        text.parse::<WireSpec>().unwrap().open(Path::new("/")).unwrap_err().to_string()
    };
    let missing = message("packet:nowhere0");
    assert!(missing.contains("no interface of that name; create it"), "{missing}");
    let veth = Veth::new("e");
    let not_tap = message(&format!("tap:{}", veth.wire_end));
    assert!(not_tap.contains("is not a TAP; use packet:"), "{not_tap}");
}

#[test]
fn a_disk_that_fills_up_is_told_once_and_at_the_end() {
    let folder = std::env::temp_dir().join(format!("twinpath-disk-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    run(&format!("mount -t tmpfs -o size=1m tmpfs {}", folder.display()));
    let spec: WireSpec = format!("pcap:out={}/out.pcap", folder.display()).parse().unwrap();
    let mut wire = spec.open(Path::new("/")).unwrap().wire;
    let mut told = 0;
    for _ in 0..3_000 {
        wire.send(&frame([8, 0], 1_000), Time(0));
        told += u32::from(wire.flush().is_err());
    }
    let (last, counters) = (wire.finish(), wire.counters());
    drop(wire);
    run(&format!("umount -l {}", folder.display()));
    std::fs::remove_dir(&folder).ok();
    assert_eq!(told, 1);
    let text = last.unwrap_err().to_string();
    assert!(
        text.ends_with("out.pcap: cannot write: No space left on device (os error 28)"),
        "{text}"
    );
    assert_eq!(counters.sent.packets + counters.send_dropped, 3_000);
}

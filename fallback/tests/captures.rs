//! Captures: what is written reads back byte for byte, here and by tcpdump, capinfos, editcap and
//! tshark; every classic variant and pcapng in both byte orders is read; corrupt ones are refused
//! with the place.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics; clippy misses helpers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use twinpath_fallback::wire::WireSpec;
use twinpath_flow::time::Time;

type Frames = Vec<(Vec<u8>, u64)>;

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("twinpath-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn write(path: &Path, frames: &[(Vec<u8>, u64)]) {
    let spec: WireSpec = format!("pcap:out={}", path.display()).parse().unwrap();
    let mut wire = spec.open(Path::new("/")).unwrap().wire;
    for (frame, time) in frames {
        wire.send(frame, Time(*time));
    }
    wire.flush().unwrap();
    wire.finish().unwrap();
}

fn read(path: &Path) -> Result<Frames, String> {
    let spec: WireSpec = format!("pcap:in={}", path.display()).parse().unwrap();
    let mut wire = spec.open(Path::new("/")).map_err(|error| error.to_string())?.wire;
    let mut frames = Vec::new();
    while let Some(arrival) = wire.next_arrival() {
        let mut sink = |frame: &[u8], time: Time| frames.push((frame.to_vec(), time.0));
        let count = wire.receive(arrival, 1, &mut sink).map_err(|error| error.to_string())?;
        assert_eq!(count, 1);
        assert_eq!(frames.last().unwrap().1, arrival.0);
    }
    assert!(wire.is_finished());
    Ok(frames)
}

fn sample() -> Frames {
    // 2026-01-01 00:00:00.000000001 UTC and later; lengths on both sides of a word's end.
    let start = 1_767_225_600_000_000_001;
    (0..50u8).map(|i| (vec![i; 60 + usize::from(i)], start + u64::from(i) * 1_234_567)).collect()
}

/// Runs a judge; it must be there and be content.
fn judge(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; `./check tools` installs it"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn tcpdump_and_capinfos_read_what_we_write() {
    let folder = Folder::new("judges");
    for (name, kind) in [("a.pcap", "nsecpcap"), ("a.pcapng", "pcapng")] {
        let path = folder.file(name);
        write(&path, &sample());
        let path = path.to_str().unwrap();
        let lines = judge("tcpdump", &["-r", path, "-n", "-tt", "--nano", "-xx", "-e"]);
        assert!(lines.starts_with("1767225600.000000001 "), "{lines}");
        assert_eq!(lines.matches("ethertype").count() + lines.matches("802.3").count(), 50);
        let about = judge("capinfos", &["-M", path]);
        assert!(about.contains(kind), "{about}");
        assert!(about.lines().any(|l| l.starts_with("Number of packets:") && l.ends_with(" 50")));
        assert!(about.contains("Encapsulation = Ethernet (1 - ether)"), "{about}");
        assert!(!about.contains("cut short"), "{about}");
    }
}

#[test]
fn captures_that_others_write_read_as_ours() {
    let folder = Folder::new("editcap");
    let ours = folder.file("ours.pcapng");
    write(&ours, &sample());
    for (format, unit) in [("pcap", 1_000), ("nsecpcap", 1), ("pcapng", 1)] {
        let theirs = folder.file(format);
        judge("editcap", &["-F", format, ours.to_str().unwrap(), theirs.to_str().unwrap()]);
        let want: Frames = sample().into_iter().map(|(f, t)| (f, t / unit * unit)).collect();
        assert_eq!(read(&theirs).unwrap(), want, "{format}");
    }
}

#[test]
fn generated_frames_are_without_fault_for_tshark() {
    let folder = Folder::new("tshark");
    let path = folder.file("generated.pcap");
    let mut source = "gen:encap=gtpu,flows=50,proto=udp+tcp+icmp,size=60-1514,qfi=1-9,teid=7,\
         src=10.45.0.0/26,count=300;encap=gtpu,qfi=none,count=20;vlan=0+5,proto=udp+tcp+icmp,\
         dscp=0-63,ttl=1-255,flows=99,size=60-300,count=300;src=2001:db8::/64,dst=2001:db8:1::1,\
         proto=udp+tcp+icmp,flows=99,size=80-2000,count=300"
        .parse::<WireSpec>()
        .unwrap()
        .open(Path::new("/"))
        .unwrap()
        .wire;
    let mut frames = Vec::new();
    let mut sink = |frame: &[u8], time: Time| frames.push((frame.to_vec(), time.0));
    source.receive(Time(u64::MAX), usize::MAX, &mut sink).unwrap();
    write(&path, &frames);
    let path = path.to_str().unwrap();
    let checks = ["ip", "udp", "tcp"].map(|name| format!("{name}.check_checksum:TRUE"));
    let arguments: Vec<&str> =
        ["-r", path].into_iter().chain(checks.iter().flat_map(|check| ["-o", check])).collect();
    let faults = "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 || \
                  tcp.checksum.status == 0 || icmp.checksum.status == 0 || \
                  icmpv6.checksum.status == 0 || ip.bogus_ip_length || udp.length.bad";
    let found = judge("tshark", &[&arguments[..], &["-Y", faults]].concat());
    assert_eq!(found, "");
    let gtp = "gtp.ext_hdr.pdu_ses_con.qos_flow_id >= 1 && gtp.teid >= 7 && ip.src == 10.45.0.0/26";
    let found = judge("tshark", &[&arguments[..], &["-Y", gtp]].concat());
    assert_eq!(found.lines().count(), 300);
}

fn put(bytes: &mut Vec<u8>, is_big: bool, words: &[u32]) {
    for word in words {
        bytes.extend(if is_big { word.to_be_bytes() } else { word.to_le_bytes() });
    }
}

fn put_half(bytes: &mut Vec<u8>, is_big: bool, word: u16) {
    bytes.extend(if is_big { word.to_be_bytes() } else { word.to_le_bytes() });
}

#[test]
fn all_four_classic_variants_are_read() {
    let folder = Folder::new("magics");
    for (magic, unit) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1)] {
        for is_big in [false, true] {
            let mut bytes = Vec::new();
            put(&mut bytes, is_big, &[magic]);
            put_half(&mut bytes, is_big, 2);
            put_half(&mut bytes, is_big, 4);
            put(&mut bytes, is_big, &[0, 0, 65_535, 1]);
            for (seconds, fraction) in [(5, 7), (4, 0), (5, 8)] {
                put(&mut bytes, is_big, &[seconds, fraction, 3, 90]);
                bytes.extend([0xaa, 0xbb, 0xcc]);
            }
            let path = folder.file("capture");
            fs::write(&path, &bytes).unwrap();
            let times: Vec<u64> = read(&path).unwrap().iter().map(|(_, time)| *time).collect();
            let start = 5_000_000_000;
            // The second is earlier than the first and counts as it.
            assert_eq!(times, [start + 7 * unit, start + 7 * unit, start + 8 * unit]);
            assert_eq!(read(&path).unwrap()[0].0, [0xaa, 0xbb, 0xcc]);
        }
    }
}

/// Blocks by hand: a section, an interface with resolution 10^-3, an enhanced packet, a block
/// nobody knows, a simple packet; then a section with resolution 2^-4 and an offset of 100 s.
fn blocks(is_big: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let section = [0x0a0d_0d0a, 28, 0x1a2b_3c4d];
    let interface = |bytes: &mut Vec<u8>, length, options: &dyn Fn(&mut Vec<u8>)| {
        put(bytes, is_big, &[1, length]);
        put_half(bytes, is_big, 1);
        put_half(bytes, is_big, 0);
        put(bytes, is_big, &[0]);
        options(bytes);
        put(bytes, is_big, &[length]);
    };
    let version = |bytes: &mut Vec<u8>| {
        put_half(bytes, is_big, 1);
        put_half(bytes, is_big, 0);
        put(bytes, is_big, &[u32::MAX, u32::MAX, 28]);
    };
    put(&mut bytes, is_big, &section);
    version(&mut bytes);
    interface(&mut bytes, 28, &|bytes| {
        put_half(bytes, is_big, 9);
        put_half(bytes, is_big, 1);
        bytes.extend([3, 0, 0, 0]);
    });
    put(&mut bytes, is_big, &[6, 36, 0, 0, 2_500, 2, 2]);
    bytes.extend([1, 2, 0, 0]);
    put(&mut bytes, is_big, &[36]);
    put(&mut bytes, is_big, &[0x0bad_0bad, 16, 99, 16]);
    put(&mut bytes, is_big, &[3, 20, 3]);
    bytes.extend([3, 4, 5, 0]);
    put(&mut bytes, is_big, &[20]);
    put(&mut bytes, is_big, &section);
    version(&mut bytes);
    interface(&mut bytes, 40, &|bytes| {
        put_half(bytes, is_big, 9);
        put_half(bytes, is_big, 1);
        bytes.extend([0x84, 0, 0, 0]);
        put_half(bytes, is_big, 14);
        put_half(bytes, is_big, 8);
        bytes.extend(if is_big { 100u64.to_be_bytes() } else { 100u64.to_le_bytes() });
    });
    put(&mut bytes, is_big, &[6, 36, 0, 0, 24, 1, 1]);
    bytes.extend([6, 0, 0, 0]);
    put(&mut bytes, is_big, &[36]);
    bytes
}

#[test]
fn blocks_of_both_byte_orders_are_read() {
    let folder = Folder::new("blocks");
    for is_big in [false, true] {
        let path = folder.file("capture.pcapng");
        fs::write(&path, blocks(is_big)).unwrap();
        let want = vec![
            (vec![1, 2], 2_500_000_000),
            (vec![3, 4, 5], 2_500_000_000),
            (vec![6], 101_500_000_000),
        ];
        assert_eq!(read(&path).unwrap(), want, "big-endian: {is_big}");
        let about = judge("capinfos", &["-M", "-c", path.to_str().unwrap()]);
        assert!(about.contains(" 3"), "{about}");
    }
}

#[test]
fn every_truncation_is_told_with_its_place_and_leaves_no_output() {
    let folder = Folder::new("truncated");
    let (path, out) = (folder.file("capture"), folder.file("out"));
    let classic = folder.file("classic.pcap");
    write(&classic, &sample()[..3]);
    for whole in [fs::read(&classic).unwrap(), blocks(false), blocks(true)] {
        let mut ends = 0;
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let spec = format!("pcap:in={},out={}", path.display(), out.display());
            let spec: WireSpec = spec.parse().unwrap();
            match spec.open(Path::new("/")) {
                Ok(_) => {
                    ends += 1;
                    fs::remove_file(&out).unwrap();
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("at byte ") && text.contains("truncated"), "{text}");
                    assert!(text.starts_with(path.to_str().unwrap()), "{text}");
                    assert!(!out.exists());
                }
            }
        }
        assert!((3..=7).contains(&ends), "only cuts between records are whole captures: {ends}");
    }
    fs::write(&path, &fs::read(&classic).unwrap()[..24 + 16 + 60 + 16 + 9]).unwrap();
    let error = read(&path).unwrap_err();
    let want = "at byte 100: truncated: the record needs 77 bytes, the file has 25 more";
    assert!(error.ends_with(want), "{error}");
}

#[test]
fn faults_are_named() {
    let folder = Folder::new("faults");
    let path = folder.file("capture");
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read(&path).unwrap_err()
    };
    let mut header = Vec::new();
    put(&mut header, false, &[0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 1]);
    assert!(message(b"this is no capture file").contains("not a pcap or pcapng capture"));
    let mut other = header.clone();
    other[20] = 113;
    assert!(message(&other).contains("link type 113 is not Ethernet"));
    other = header.clone();
    other[4] = 9;
    assert!(message(&other).contains("unknown version 9.4"));
    other = header;
    put(&mut other, false, &[0, 0, 0x7fff_ffff, 60]);
    assert!(message(&other).contains("at byte 24: impossible length 2147483647 of the record"));
    let mut other = blocks(false);
    other[24] = 27;
    assert!(message(&other).contains("28 bytes at its head and 27 at its end"));
    let missing = read(Path::new("/nowhere/capture.pcap")).unwrap_err();
    assert!(missing.starts_with("/nowhere/capture.pcap: cannot open: No such file"), "{missing}");
    assert!(read(Path::new("/tmp")).unwrap_err().contains("directory"));
}

#[test]
fn a_full_disk_is_told_with_the_path_before_traffic_starts() {
    let spec: WireSpec = "pcap:out=/dev/full".parse().unwrap();
    let error = spec.open(Path::new("/")).unwrap_err().to_string();
    assert!(error.starts_with("/dev/full: cannot write: No space left"), "{error}");
}

#[test]
fn a_shifted_capture_starts_when_it_is_told_to() {
    let folder = Folder::new("shift");
    let path = folder.file("capture.pcap");
    write(&path, &sample());
    let spec: WireSpec = format!("pcap:in={}", path.display()).parse().unwrap();
    let mut wire = spec.open(Path::new("/")).unwrap().wire;
    wire.start_at(Time::from_secs(3));
    let mut times = Vec::new();
    let mut sink = |_: &[u8], time: Time| times.push(time.0);
    assert_eq!(wire.receive(Time(3_002_000_000), 99, &mut sink).unwrap(), 2);
    assert_eq!(times, [3_000_000_000, 3_001_234_567]);
    assert_eq!(wire.next_arrival(), Some(Time(3_002_469_134)));
}

proptest! {
    #[test]
    fn what_is_written_reads_back_byte_for_byte(
        frames in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..2_000), 0..4_000_000_000_000_000_000u64), 0..40),
        is_next_generation in any::<bool>(),
    ) {
        let folder = Folder::new(&format!("round-{is_next_generation}"));
        let path = folder.file(if is_next_generation { "a.pcapng" } else { "a.pcap" });
        let mut frames: Frames = frames;
        frames.sort_by_key(|(_, time)| *time);
        write(&path, &frames);
        prop_assert_eq!(read(&path).unwrap(), frames);
    }

    #[test]
    fn scribbled_captures_never_panic(
        is_next_generation in any::<bool>(),
        at in 0usize..600,
        garbage in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        let folder = Folder::new("scribbled");
        let path = folder.file("a");
        let mut bytes = if is_next_generation { blocks(at % 2 == 0) } else {
            let classic = folder.file("classic.pcap");
            write(&classic, &sample()[..4]);
            fs::read(&classic).unwrap()
        };
        let start = at % bytes.len();
        for (byte, new) in bytes[start..].iter_mut().zip(garbage) {
            *byte = new;
        }
        fs::write(&path, bytes).unwrap();
        if let Err(error) = read(&path) {
            prop_assert!(error.contains("at byte "), "{}", error);
        }
    }
}

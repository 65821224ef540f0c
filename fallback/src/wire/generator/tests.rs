//! Generated frames: literal bytes, determinism, sessions.

use twinpath_flow::time::Time;

use super::super::Wire;
use super::Generator;

fn run(text: &str, limit: usize) -> Vec<(Vec<u8>, Time)> {
    let mut generator = Generator::new(&text.parse().unwrap());
    let mut frames = Vec::new();
    let mut sink = |frame: &[u8], time| frames.push((frame.to_vec(), time));
    generator.receive(Time(u64::MAX), limit, &mut sink).unwrap();
    frames
}

#[test]
fn a_udp_frame_has_these_bytes() {
    let frames = run("src=10.0.0.7,dst=198.18.0.1,sport=1000,dport=53,dscp=46,ttl=9", 1);
    let expected = [
        0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
        0x45, 0xb8, 0, 46, 0, 0, 0x40, 0, 9, 17, 0xe3, 0xe3, 10, 0, 0, 7, 198, 18, 0,
        1, // IPv4
        0x03, 0xe8, 0, 53, 0, 26, 0x2d, 0x8c, // UDP
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // payload
    ];
    let sums = [24, 25, 40, 41];
    let frame = &frames[0].0;
    for (at, byte) in expected.iter().enumerate().filter(|(at, _)| !sums.contains(at)) {
        assert_eq!(frame[at], *byte, "byte {at}");
    }
    assert_eq!(frame.len(), expected.len());
}

#[test]
fn the_same_seed_makes_the_same_frames_and_another_seed_others() {
    let text = "flows=500,zipf=1.2,proto=udp+tcp+icmp,size=60-1500,ttl=64*9+1,count=300";
    let first = run(text, usize::MAX);
    assert_eq!(first.len(), 300);
    assert_eq!(first, run(text, usize::MAX));
    assert_ne!(first, run(&format!("{text},seed=2"), usize::MAX));
}

#[test]
fn arrival_times_keep_the_rate_without_drift() {
    let frames = run("rate=3,count=7,start=1s", usize::MAX);
    let times: Vec<u64> = frames.iter().map(|(_, time)| time.0).collect();
    assert_eq!(times[..4], [1_000_000_000, 1_333_333_333, 1_666_666_666, 2_000_000_000]);
    assert_eq!(times[6], 3_000_000_000);
}

#[test]
fn a_session_has_one_teid_and_one_inner_address() {
    let text = "encap=gtpu,flows=40,src=10.45.0.0-10.45.0.9,teid=0x100,qfi=5,count=2000";
    let mut seen = std::collections::BTreeSet::new();
    for (frame, _) in run(text, usize::MAX) {
        // Ethernet 14, IPv4 20, UDP 8: GTP-U begins at 42, its TEID at 46, the inner packet at 58.
        assert_eq!(frame[36..38], 2152u16.to_be_bytes());
        assert_eq!(frame[42..44], [0x34, 0xff]);
        assert_eq!(usize::from(frame[44]) << 8 | usize::from(frame[45]), frame.len() - 50);
        assert_eq!(frame[50..58], [0, 0, 0, 0x85, 1, 0x10, 5, 0]);
        let teid = u32::from_be_bytes(frame[46..50].try_into().unwrap());
        assert_eq!(teid - 0x100, u32::from(frame[58 + 15]), "inner source 10.45.0.n");
        let port = u16::from_be_bytes(frame[78..80].try_into().unwrap());
        seen.insert((teid, port));
    }
    assert_eq!(seen.len(), 40, "ten sessions with four flows each");
}

#[test]
fn walking_the_target_makes_the_way_back() {
    let text = "walk=dst,flows=20,src=198.18.0.1,sport=80+443,dst=10.45.0.0-10.45.0.9,\
                dport=5000-5001,count=500";
    let mut seen = std::collections::BTreeSet::new();
    for (frame, _) in run(text, usize::MAX) {
        assert_eq!(frame[26..30], [198, 18, 0, 1]);
        let sport = u16::from_be_bytes(frame[34..36].try_into().unwrap());
        assert!(sport == 80 || sport == 443);
        seen.insert((frame[33], frame[37]));
    }
    assert_eq!(seen.len(), 20);
}

#[test]
fn streams_are_merged_by_time_and_the_first_wins_ties() {
    let text = "rate=1000,count=3,dport=1;rate=1000,count=2,dport=2;rate=2000,count=1,dport=3";
    let ports: Vec<u8> = run(text, usize::MAX).iter().map(|(frame, _)| frame[37]).collect();
    assert_eq!(ports, [1, 2, 3, 1, 2, 1]);
}

#[test]
fn a_burst_ends_at_its_limit_and_at_its_time() {
    let mut generator = Generator::new(&"rate=1000,count=10".parse().unwrap());
    let mut count = 0;
    let mut sink = |_: &[u8], _| count += 1;
    assert_eq!(generator.receive(Time::from_millis(4), 3, &mut sink).unwrap(), 3);
    assert_eq!(generator.next_arrival(), Some(Time::from_millis(3)));
    assert_eq!(generator.receive(Time::from_millis(4), 30, &mut sink).unwrap(), 2);
    assert!(!generator.is_finished());
    assert_eq!(generator.receive(Time::from_millis(9), 30, &mut sink).unwrap(), 5);
    assert!(generator.is_finished());
    assert_eq!((count, generator.next_arrival()), (10, None));
}

//! Several workers forward as one does: real traffic in order, exact totals while rules change,
//! the same frames and counts as one worker, and quiet when there is nothing to do.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use twinpath_tests::netns::{Attachment, Laboratory, Plan, Trunk, binary, pause, wait_for};
use twinpath_tests::traffic::{Datagrams, datagrams, transfer};

/// Both hosts as if by a cable.
const CABLE: &str = "\
priority=10,in_port=1,actions=output:2
priority=10,in_port=2,actions=output:1
";

const EVERY_WIRE: [Attachment; 4] =
    [Attachment::Tap, Attachment::Veth, Attachment::Blocks, Attachment::Xdp];

const TRUNKED: &str = "\
in_port=1,actions=push_vlan:0x8100,set_field:4138->vlan_vid,output:3
in_port=4,dl_vlan=42,actions=pop_vlan,output:2
in_port=2,actions=push_vlan:0x8100,set_field:4138->vlan_vid,output:4
in_port=3,dl_vlan=42,actions=pop_vlan,output:1
";

const ONE: &str = "device = \"none\"";
const TWO: &str = "device = \"none\"\nworkers = 2";
const FOUR: &str = "device = \"none\"\nworkers = 4";

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is not a number in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is not a list in {value}"))
}

/// Every packet was counted by a rule, whichever worker decided it, and none got lost on its way
/// from worker to worker.
fn check_totals(summary: &Value) {
    let counted: u64 = list(summary, "rules").iter().map(|rule| number(rule, "packets")).sum();
    assert_eq!(counted, number(&summary["packets"], "received"), "{summary}");
    let workers = list(summary, "workers");
    assert!(workers.iter().all(|worker| number(worker, "ring_full") == 0), "{workers:?}");
    let decided: u64 = workers.iter().map(|worker| number(worker, "packets")).sum();
    assert_eq!(decided, number(&summary["packets"], "software"));
}

#[test]
fn hosts_ping_and_talk_through_two_workers() {
    for attachment in EVERY_WIRE {
        let laboratory =
            Laboratory::new(Plan { device: TWO, attachment, rules: CABLE, trunk: Trunk::Absent });
        for target in ["10.9.0.2", "fd09::2"] {
            let text = laboratory.left.run(&format!("ping -n -i 0.02 -c 50 -W 5 {target}"));
            assert!(text.contains(" 0% packet loss"), "{attachment:?}: {text}");
        }
        let target = ([10, 9, 0, 2], 5_000).into();
        let [left, right] = transfer(&laboratory.left, &laboratory.right, target, 64 << 20);
        assert_eq!(left, right, "{attachment:?}");
        let summary = laboratory.stop();
        let workers = list(&summary, "workers");
        assert_eq!(workers.len(), 2);
        for worker in workers {
            let decided = number(worker, "packets");
            assert!(decided > 100, "both workers decide: {workers:?}");
            assert_eq!(number(worker, "handed_over") + number(worker, "ring_full"), decided);
        }
    }
}

#[test]
fn tagged_frames_cross_a_trunk_through_four_workers() {
    let laboratory = Laboratory::new(Plan {
        device: FOUR,
        attachment: Attachment::Tap,
        rules: TRUNKED,
        trunk: Trunk::Joined,
    });
    let target = ([10, 9, 0, 2], 5_000).into();
    let [left, right] = transfer(&laboratory.left, &laboratory.right, target, 32 << 20);
    assert_eq!(left, right);
    let summary = laboratory.stop();
    assert_eq!(list(&summary, "workers").len(), 4);
    let tagged = |rule: &&Value| rule["match"].to_string().contains("dl_vlan=42");
    let rules = list(&summary, "rules").iter().filter(tagged);
    assert!(rules.map(|rule| number(rule, "packets")).all(|packets| packets > 500));
}

#[test]
fn numbered_datagrams_keep_their_order_and_are_all_counted_while_rules_change() {
    for attachment in EVERY_WIRE {
        let laboratory =
            Laboratory::new(Plan { device: TWO, attachment, rules: CABLE, trunk: Trunk::Absent });
        laboratory.left.run("ping -n -c 1 -W 5 10.9.0.2");
        let done = AtomicBool::new(false);
        let (seen, changes) = std::thread::scope(|scope| {
            let laboratory = &laboratory;
            let done = &done;
            let sender = scope.spawn(move || {
                let target = ([10, 9, 0, 2].into(), 6_000, 4);
                let seen = datagrams(&laboratory.left, &laboratory.right, target, (40_000, 20));
                done.store(true, Ordering::Relaxed);
                seen
            });
            // Rules that nothing hits, and that every flow has to exclude: all flows are made anew.
            let mut changes = 0;
            while !done.load(Ordering::Relaxed) {
                let host = changes % 100;
                let rule = format!("priority=50,udp,nw_dst=10.8.0.{host},tp_dst=9,actions=drop");
                drop(laboratory.twinpath.command(&["rules", "add", &rule]));
                drop(laboratory.twinpath.command(&["rules", "del", "udp,tp_dst=9"]));
                let stats = laboratory.twinpath.stats();
                let packets = &stats["packets"];
                assert_eq!(number(packets, "received"), number(packets, "software"));
                changes += 2;
            }
            (sender.join().expect("all were sent"), changes)
        });
        let want = Datagrams { sent: 40_000, received: 40_000, reordered: 0, repeated: 0 };
        assert_eq!(seen, want, "{attachment:?}");
        assert!(changes > 20, "only {changes} changes of rules under traffic");
        let summary = laboratory.stop();
        assert_eq!(summary["packets"]["lost"], serde_json::json!({}));
        check_totals(&summary);
    }
}

/// Voluntary switches so far of the threads of the process that has this control socket open.
fn naps(laboratory: &Laboratory) -> u64 {
    let tasks = format!("/proc/{}/task", laboratory.twinpath.process());
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    let texts = fs::read_dir(tasks).expect("it runs").flatten().filter_map(status);
    let count = |text: String| {
        let line = text.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    texts.filter_map(count).sum()
}

#[test]
fn workers_without_work_sleep_and_wake_at_once() {
    let laboratory = Laboratory::new(Plan {
        device: TWO,
        attachment: Attachment::Veth,
        rules: CABLE,
        trunk: Trunk::Absent,
    });
    laboratory.left.run("ping -n -c 1 -W 5 10.9.0.2");
    let before = naps(&laboratory);
    (0..100).for_each(|_| pause());
    // A busy loop never naps; one that sleeps without a reason naps thousands of times.
    let napped = naps(&laboratory) - before;
    assert!((10..500).contains(&napped), "{napped} naps in a second");
    let text = laboratory.left.run("ping -n -i 0.3 -c 5 -W 5 10.9.0.2");
    assert!(text.contains(" 0% packet loss"), "{text}");
    drop(laboratory.stop());
}

/// Lets the program stand still while more frames come than the kernel keeps for it, then go on.
fn overflow(laboratory: &Laboratory, count: u64) {
    let pid = i32::try_from(laboratory.twinpath.process()).expect("a process has a small number");
    let pid = Pid::from_raw(pid).expect("it runs");
    kill_process(pid, Signal::STOP).expect("it is our child");
    let flood = laboratory.left.thread(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("any port");
        for _ in 0..count {
            socket.send_to(&[0; 400], "10.9.0.2:9").expect("the link is up");
        }
    });
    flood.join().expect("all were sent");
    kill_process(pid, Signal::CONT).expect("it is our child");
}

#[test]
fn frames_the_kernel_had_no_room_for_are_counted_as_missed() {
    for attachment in [Attachment::Veth, Attachment::Blocks] {
        let laboratory =
            Laboratory::new(Plan { device: ONE, attachment, rules: CABLE, trunk: Trunk::Absent });
        laboratory.left.run("ping -n -c 1 -W 5 10.9.0.2");
        let before = laboratory.twinpath.stats();
        overflow(&laboratory, 60_000);
        let seen = |stats: &Value| {
            let port = &list(stats, "ports")[0];
            (number(port, "rx_packets"), number(port, "rx_missed"))
        };
        let (received, missed) = wait_for("all frames to be counted", || {
            let (received, missed) = seen(&laboratory.twinpath.stats());
            let (old, none) = seen(&before);
            assert_eq!(none, 0);
            (received + missed >= old + 60_000).then_some((received - old, missed))
        });
        assert!(missed > 1_000, "{attachment:?}: {received} received, {missed} missed");
        // A neighbour or two may have asked for each other beside.
        assert!(received + missed < 60_020, "{attachment:?}: {received} + {missed}");
        drop(laboratory.stop());
    }
}

/// Frames of a classic capture, without their times.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("the run wrote it");
    let mut frames = Vec::new();
    let mut rest = &bytes[24..];
    while !rest.is_empty() {
        let length = u32::from_le_bytes(*rest[8..].first_chunk().expect("a whole record"));
        let length = usize::try_from(length).expect("a short frame");
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

/// The frames written to two captures, and the summary, of a run with so many workers.
fn generated(workers: usize) -> ([Vec<Vec<u8>>; 2], Value) {
    let folder = std::env::temp_dir().join(format!("twinpath-workers-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let rules = "\
table=0,priority=9,udp,nw_src=10.1.0.0/25,actions=mod_nw_dst:192.0.2.1,dec_ttl,goto_table:1
table=0,priority=8,tcp,actions=push_vlan:0x8100,set_field:4103->vlan_vid,goto_table:1
table=0,priority=7,udp,tp_dst=53,actions=drop
table=0,priority=1,ip,actions=goto_table:1
table=1,priority=5,in_port=1,actions=output:2,output:4
table=1,priority=5,in_port=3,actions=output:4
";
    let source =
        "flows=300,proto=udp*3+tcp,src=10.1.0.0/16,dport=53+80,ttl=64*50+1,rate=20k,count=20000";
    let tap = format!("twq{}", std::process::id() % 1_000_000);
    let config = format!(
        "device = \"none\"\nrules = \"w.flows\"\nworkers = {workers}\ncontrol = \"control\"\n\
         [[port]]\nnumber = 1\nwire = \"gen:{source},seed=3\"\n\
         [[port]]\nnumber = 2\nwire = \"pcap:out=a.pcap\"\n\
         [[port]]\nnumber = 3\nwire = \"gen:{source},seed=4,start=2ms\"\n\
         [[port]]\nnumber = 4\nwire = \"pcap:out=b.pcap\"\n\
         [[port]]\nnumber = 5\nwire = \"tap:{tap}\"\n"
    );
    for (name, text) in [("w.toml", config.as_str()), ("w.flows", rules)] {
        fs::write(folder.join(name), text).expect("the temporary folder is writable");
    }
    let output = Command::new(binary())
        .args(["run", "--json", "--duration", "4s"])
        .arg(folder.join("w.toml"))
        .output()
        .expect("the binary is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let summary = serde_json::from_slice(&output.stdout).expect("the summary is one JSON object");
    let written = ["a.pcap", "b.pcap"].map(|name| frames(&folder.join(name)));
    fs::remove_dir_all(&folder).expect("it is ours");
    (written, summary)
}

#[test]
fn three_workers_send_and_count_what_one_does() {
    let (one, one_summary) = generated(1);
    let (three, three_summary) = generated(3);
    assert_eq!(list(&three_summary, "workers").len(), 3);
    assert!(one[0].len() > 10_000 && one[1].len() > 25_000, "{} {}", one[0].len(), one[1].len());
    // Port 2 gets frames of one port only: the same in the same order. Port 4 gets the frames of
    // two: the same for each.
    assert!(one[0] == three[0], "{} frames, {} frames", one[0].len(), three[0].len());
    let sorted = |mut frames: Vec<Vec<u8>>| {
        frames.sort_unstable();
        frames
    };
    let [_, one_joined] = one;
    let [_, three_joined] = three;
    assert!(sorted(one_joined) == sorted(three_joined));
    assert_eq!(one_summary["rules"], three_summary["rules"]);
    let dropped = |summary: &Value| number(&summary["packets"], "dropped");
    assert!(dropped(&one_summary) > 1_000);
}

//! The daemon is killed and started again beside a switch that goes on: descriptors are in a holder, the
//! ledger is in the memory it holds, rules and counters are in the state file.

use super::platform::ROCKER;
use super::rocker::{ACL, FRAME_MAX, RULES, SILENCE, through, wait_offloaded};
use super::transport::bound;
use crate::guest::frame::{ipv4, plain, station, tagged};
use crate::guest::runner::Case;
use crate::guest::{Daemon, Guest, Iommu, Wire};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

/// The cases.
pub(super) const CASES: [Case; 3] = [
    Case { name: "killed_and_held", iommu: Iommu::Present, prove: killed_and_held },
    Case { name: "held_as_a_user", iommu: Iommu::Present, prove: held_as_a_user },
    Case { name: "held_and_refused", iommu: Iommu::Present, prove: held_and_refused },
];

/// Kills.
const KILLS: usize = 5;
/// Frames that wait for a daemon while there is none.
const WAITING: u8 = 5;

fn start(guest: &mut Guest, more: &str) -> Daemon {
    let address = bound(guest, ROCKER);
    let daemon = Daemon::start_held(guest, &format!("vfio:{address}"), RULES, more);
    for wire in &guest.wires {
        let _ = wire.drain(std::time::Duration::from_millis(1));
    }
    daemon
}

/// Flows and groups of the switch, without their hits, in order.
fn tables(guest: &mut Guest) -> Vec<String> {
    let flows = guest.monitor.rocker_flows().into_iter().map(|mut flow| {
        flow["hits"] = Value::Null;
        flow
    });
    let mut all: Vec<_> = flows.map(|flow| flow.to_string()).collect();
    all.extend(guest.monitor.rocker_groups().iter().map(Value::to_string));
    all.sort();
    all
}

/// Every counter that people see and a restart must not turn back.
fn counters(statistics: &Value) -> Vec<u64> {
    let mut all = vec![&statistics["packets"]["software"], &statistics["packets"]["received"]];
    for port in statistics["ports"].as_array().expect("ports") {
        all.extend(["rx_packets", "tx_packets"].map(|name| &port[name]));
    }
    all.extend(statistics["rules"].as_array().expect("rules").iter().map(|rule| &rule["packets"]));
    all.into_iter().map(|number| number.as_u64().unwrap_or(0)).collect()
}

/// Sends frames of an entry through the switch, one after the other, until it is told to stop; how
/// many. Each must come out.
fn stream(wires: &[Wire], stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let frame = plain(station(2), station(1), u16::try_from(sent % 60_000).expect("below"));
        wires[0].send(&frame);
        let received = wires[1].receive(FRAME_MAX);
        assert_eq!(received, Some(frame), "frame {sent} of an offloaded flow");
        sent += 1;
    }
    sent
}

/// Seconds that the guest is up.
fn uptime(guest: &mut Guest) -> f64 {
    guest.succeed("cut -d ' ' -f 1 /proc/uptime").parse().expect("a number")
}

/// Kills the daemon and starts the next; how many seconds until that answered.
fn succeed(guest: &mut Guest, daemon: &Daemon) -> f64 {
    let before = daemon.ask(guest, "stats");
    let began = uptime(guest);
    daemon.kill(guest);
    let after = Daemon::run(guest).ask(guest, "stats");
    let gap = uptime(guest) - began;
    let pairs = counters(&before).into_iter().zip(counters(&after));
    pairs.for_each(|(earlier, later)| assert!(later >= earlier, "{before} {after}"));
    gap
}

fn killed_and_held(guest: &mut Guest) -> String {
    let daemon = start(guest, "");
    let standing = tables(guest);
    // A plain flow, one that floods, one that rewrites, one that pushes a tag.
    let rewritten = plain(station(3), station(0xfe), 1);
    let untagged = plain(station(0x0b), station(1), 1);
    for (frame, out, wanted) in [
        (plain(station(2), station(1), 1), 2, plain(station(2), station(1), 1)),
        (plain(station(0x0a), station(1), 1), 3, rewritten),
        (untagged.clone(), 3, tagged(&untagged, 100)),
    ] {
        assert_eq!(through(guest, 1, out, &frame), wanted);
    }
    wait_offloaded(guest, &daemon, 3);
    let offloaded = tables(guest);
    let hits = guest.monitor.rocker_hits(ACL);
    let wires = std::mem::take(&mut guest.wires);
    let (stop, mut longest) = (AtomicBool::new(false), 0_f64);
    let sent = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| stream(&wires, &stop));
        for _ in 0..KILLS {
            longest = longest.max(succeed(guest, &daemon));
            let events = guest.succeed("twinpath events");
            assert!(events.contains("3 entries stay, 0 are taken out"), "{events}");
            assert!(!events.contains("reset"), "{events}");
            assert_eq!(tables(guest), offloaded, "no entry was touched");
            assert!(!traffic.is_finished(), "traffic has ended");
        }
        stop.store(true, Ordering::Relaxed);
        traffic.join().expect("every frame came out")
    });
    guest.wires = wires;
    let hits = guest.monitor.rocker_hits(ACL) - hits;
    assert!(hits >= sent, "{hits} hits in the device of {sent} frames");
    // What is not in the device waits for the next daemon.
    let hosts = [station(1), station(2)];
    daemon.kill(guest);
    (1..=WAITING).for_each(|last| guest.wires[1].send(&ipv4(hosts, [10, 0, 0, last], 64)));
    let daemon = Daemon::run(guest);
    for last in 1..=WAITING {
        let wanted = ipv4(hosts, [10, 0, 0, last], 63);
        assert_eq!(guest.wires[0].receive(FRAME_MAX), Some(wanted), "waiting frame {last}");
    }
    // An ordinary end leaves the switch forwarding too.
    daemon.end(guest);
    assert_eq!(tables(guest), offloaded);
    let daemon = Daemon::run(guest);
    // Nobody has forgotten an entry: without rules nothing is left.
    guest.succeed("twinpath rules del ''");
    daemon.wait(guest, "twinpath flows --where card --json | grep -q '\"total\": *0'");
    assert_eq!(tables(guest), standing, "orphans");
    guest.wires[0].send(&plain(station(2), station(1), 2));
    assert_eq!(guest.wires[1].receive(SILENCE), None, "an entry outlived its rule");
    daemon.end(guest);
    Daemon::end_holder(guest);
    format!(
        "{KILLS} times SIGKILL, at most {longest:.2} s until the next daemon answered: {sent} frames \
         of an offloaded flow, none lost, {hits} hits; 3 entries as they were; {WAITING} misses \
         waited; no orphans"
    )
}

fn held_and_refused(guest: &mut Guest) -> String {
    let daemon = start(guest, "");
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(1)), frame(1));
    wait_offloaded(guest, &daemon, 1);
    // Somebody resets the switch meanwhile: what is held is of no use, and it is set up anew.
    daemon.kill(guest);
    let address = bound(guest, ROCKER);
    guest.succeed(&format!("echo 1 >/sys/bus/pci/devices/{address}/reset"));
    let daemon = Daemon::run(guest);
    let first = guest.succeed("twinpath events | grep 'the card was reset'");
    assert_eq!(through(guest, 1, 2, &frame(2)), frame(2));
    wait_offloaded(guest, &daemon, 1);
    // A state that is lost: the descriptors alone are given back, and the function is opened anew.
    daemon.kill(guest);
    guest.succeed("rm /tmp/daemon/run.state");
    let daemon = Daemon::run(guest);
    let second = guest.succeed("twinpath events | grep 'the card is reset'");
    assert_eq!(through(guest, 1, 2, &frame(3)), frame(3));
    wait_offloaded(guest, &daemon, 1);
    daemon.end(guest);
    Daemon::end_holder(guest);
    let told =
        |text: &str| text.split_once("the card").map_or("", |(_, rest)| rest).trim().to_owned();
    format!("card{}; card{}", told(&first), told(&second))
}

fn held_as_a_user(guest: &mut Guest) -> String {
    guest.succeed("mkdir -p /tmp/daemon && chown guest /tmp/daemon");
    let daemon = start(guest, "user = \"guest\"\n");
    let frame = |number| plain(station(2), station(1), number);
    assert_eq!(through(guest, 1, 2, &frame(1)), frame(1));
    wait_offloaded(guest, &daemon, 1);
    let offloaded = tables(guest);
    let mut users = Vec::new();
    for number in 2..5 {
        users.push(guest.succeed("stat -c %u /proc/$(cat /tmp/daemon/pid)"));
        succeed(guest, &daemon);
        let events = guest.succeed("twinpath events");
        assert!(events.contains("1 entries stay, 0 are taken out"), "{events}");
        assert_eq!(tables(guest), offloaded, "no entry was touched");
        assert_eq!(through(guest, 1, 2, &frame(number)), frame(number));
    }
    daemon.end(guest);
    Daemon::end_holder(guest);
    guest.succeed("rm -r /tmp/daemon");
    assert_eq!(users, ["1000"; 3]);
    "started as root, run as user guest, killed and taken over three times".to_owned()
}

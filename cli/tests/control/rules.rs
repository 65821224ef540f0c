//! Rules at run time, SIGHUP, explain, events, hostile clients.

use crate::running::Running;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

const RULES: &str =
    "priority=10,ip,in_port=1 actions=output:2\npriority=5,in_port=2 actions=output:1\n";

fn start(name: &str, device: &str) -> Running {
    let config = format!(
        "device = \"{device}\"\nrules = \"r.flows\"\n\
         [[port]]\nnumber = 1\nwire = \"gen:flows=100,rate=100k\"\n\
         [[port]]\nnumber = 2\n[[port]]\nnumber = 3\n"
    );
    Running::start(&format!("{name}-{device}"), &config, &[("r.flows", RULES)])
}

/// Ends the run and returns its summary, whose totals must add up.
fn end(run: Running) -> Value {
    let summary = run.end();
    let packets = &summary["packets"];
    let of = |key: &str| packets[key].as_u64().unwrap();
    let lost: u64 = packets["lost"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(of("received"), of("card") + of("software") + of("held") + lost, "{packets}");
    assert_eq!((of("held"), lost), (0, 0), "{packets}");
    let sent: u64 = (0..3).map(|at| summary["ports"][at]["tx_packets"].as_u64().unwrap()).sum();
    assert_eq!(of("received"), sent + of("dropped"), "{packets}");
    summary
}

#[test]
fn rules_change_at_run_time_on_every_device_and_no_packet_is_lost_or_counted_twice() {
    for device in ["sim", "none", "reference"] {
        let run = start("rules", device);
        assert_eq!(run.text(&["rules", "dump"]), RULES, "what is dumped can be loaded");
        let added = "priority=90,ip,nw_src=10.0.0.4 actions=output:3";
        run.text(&["rules", "add", "priority=100,udp,nw_src=10.0.0.0/31,actions=drop", added]);
        assert!(run.text(&["rules", "dump"]).ends_with(&format!("{added}\n")));
        run.wait_until("packets for port 3", || {
            run.json(&["stats"])["ports"][2]["tx_packets"].as_u64() > Some(0)
        });
        let deleted = run.text(&["rules", "del", "ip,nw_src=10.0.0.4"]);
        assert_eq!(deleted, format!("{added}\n1 deleted\n"));
        let summary = end(run);
        assert!(summary["packets"]["dropped"].as_u64() > Some(0), "{device}");
        assert_eq!(summary["rules"].as_array().unwrap().len(), 3, "{device}");
    }
}

#[test]
fn a_wrong_rule_is_refused_and_changes_nothing() {
    let run = start("wrong", "none");
    let output = run.ask(&["rules", "add", "priority=1,ip,actions=drop", "ipp,actions=drop"]);
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("unknown field \"ipp\""), "{line}");
    assert_eq!(run.text(&["rules", "dump"]), RULES);
    end(run);
}

#[test]
fn sighup_reads_the_rule_file_again_and_a_bad_one_changes_nothing() {
    let run = start("reload", "sim");
    let file = run.folder.join("r.flows");
    fs::write(&file, "in_port=1,actions=output:2\nbogus\n").unwrap();
    run.signal("-HUP");
    run.wait_until("an error event", || run.text(&["events"]).contains("rules kept: "));
    assert!(run.text(&["events"]).contains("r.flows:2:"), "the place is told");
    assert_eq!(run.text(&["rules", "dump"]), RULES);
    fs::write(&file, "priority=7,in_port=1 actions=output:3\n").unwrap();
    run.signal("-HUP");
    run.wait_until("the new rules", || run.text(&["rules", "dump"]).starts_with("priority=7"));
    run.wait_until("packets by the new rules", || {
        let statistics: Value = serde_json::from_str(&run.text(&["stats", "--json"])).unwrap();
        statistics["ports"][2]["tx_packets"].as_u64() > Some(0)
    });
    let summary = end(run);
    assert_eq!(summary["rules"].as_array().unwrap().len(), 1);
}

#[test]
fn explain_tells_tables_flow_place_and_reason() {
    let run = start("explain", "none");
    let story = run.text(&["explain", "in_port=1,udp,nw_src=10.0.0.9"]);
    for part in ["table 0", "ip,in_port=1", "output   port 2", "where    software", "no card"] {
        assert!(story.contains(part), "{part:?} is not in\n{story}");
    }
    let listed = run.json(&["flows", "--where", "software", "--limit", "1"]);
    let number = listed["flows"][0]["flow"].as_str().unwrap().to_owned();
    assert!(run.text(&["explain", &number]).contains("why      no card"));
    assert_eq!(run.json(&["flows", "--where", "card"])["total"], 0);
    assert_eq!(run.ask(&["explain", "in_port=9,ip"]).status.code(), Some(2));
    assert_eq!(run.ask(&["explain", "4000000000"]).status.code(), Some(2));
    end(run);
}

#[test]
fn counters_say_when_they_were_true_and_how_fast_they_grow() {
    let run = start("rates", "sim");
    run.wait_until("a flow that the card counts", || {
        let listed = run.json(&["flows", "--where", "card", "--limit", "1"]);
        let flow = &listed["flows"][0];
        flow["packets_per_second"].as_u64() > Some(0) && flow["card_packets"].as_u64() > Some(100)
    });
    let flow = &run.json(&["flows", "--where", "card", "--limit", "1"])["flows"][0];
    let statistics = run.json(&["stats"]);
    let now = statistics["time"]["seconds"].as_f64().unwrap();
    let [flow_at, rule_at] =
        [flow, &statistics["rules"][0]].map(|counted| counted["card_counted_at"].as_f64().unwrap());
    assert!(0.0 < flow_at && flow_at <= rule_at && rule_at <= now, "{flow_at} {rule_at} {now}");
    let number = flow["flow"].as_str().unwrap();
    let story = run.text(&["explain", number]);
    assert!(story.contains(" a second lately\ncounted  by the card until "), "{story}");
    end(run);
}

#[test]
fn reasons_are_summed_over_packets_and_other_devices_can_be_asked_about() {
    let run = start("why", "sim");
    run.text(&["rules", "add", "priority=20,udp,nw_src=10.0.0.8/29,actions=controller,output:2"]);
    run.wait_until("packets that need software", || {
        run.text(&["flows", "--why"]).contains("action not supported: controller copy")
    });
    let why = run.text(&["flows", "--why"]);
    assert!(why.contains("    → rules on its way without a controller action"), "{why}");
    assert!(why.lines().all(|line| line.chars().count() <= 80), "{why}");
    let sums = run.json(&["flows", "--why"]);
    let reasons = sums["reasons"].as_array().unwrap();
    let packets: u64 = reasons.iter().filter_map(|reason| reason["packets"].as_u64()).sum();
    assert_eq!(Some(packets), sums["software"].as_u64(), "{sums}");
    let both = run.ask(&["flows", "--why", "--where", "card"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");

    let asked = ["explain", "in_port=1,udp,nw_src=10.0.0.9", "--device"];
    let story = run.text(&[&asked[..], &["small"]].concat());
    assert!(story.contains("small    would not take the flow: action not supported"), "{story}");
    let asked = ["explain", "in_port=2,dl_type=0x88b5", "--device"];
    let story = run.text(&[&asked[..], &["rocker"]].concat());
    assert!(story.contains("rocker   would take the flow"), "{story}");
    assert_eq!(run.ask(&[&asked[..], &["bogus"]].concat()).status.code(), Some(2));
    let traced = ["trace", "r.flows", "in_port=1,ip", "--device", "rocker", "--json"];
    let traced = Command::new(env!("CARGO_BIN_EXE_twinpath"))
        .args(traced)
        .current_dir(&run.folder)
        .output()
        .unwrap();
    let traced: Value = serde_json::from_slice(&traced.stdout).unwrap();
    assert_eq!(traced["candidate"]["fits"], true, "{traced}");
    let summary = end(run);
    let reasons = summary["software_reasons"].as_array().unwrap();
    let packets: u64 = reasons.iter().filter_map(|reason| reason["packets"].as_u64()).sum();
    assert_eq!(Some(packets), summary["packets"]["software"].as_u64(), "{reasons:?}");
}

#[test]
fn clients_that_say_nothing_or_too_much_do_not_stall_the_run() {
    let run = start("hostile", "none");
    let socket = run.folder.join("c.sock");
    let silent: Vec<_> = (0..8).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut flood = UnixStream::connect(&socket).unwrap();
    flood.set_write_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let cut_off = (0..4000).any(|_| flood.write_all(&[b'x'; 1 << 14]).is_err());
    assert!(cut_off, "a request without an end is cut off");
    let before = run.json(&["stats"])["packets"]["received"].as_u64();
    run.wait_until("progress", || run.json(&["stats"])["packets"]["received"].as_u64() > before);
    drop(silent);
    end(run);
}

#[test]
fn what_the_card_holds_is_read_back_and_told() {
    let run = start("reconcile", "sim");
    run.wait_until("places read", || {
        run.json(&["reconcile"])["read"]["inspected"].as_u64().is_some_and(|places| places > 0)
    });
    let told = run.json(&["reconcile"]);
    assert_eq!((&told["card"], &told["read"]["missing"]), (&"twin".into(), &0.into()), "{told}");
    assert!(told["places"].as_u64() > told["entries"].as_u64(), "{told}");
    assert!(run.text(&["reconcile"]).starts_with("card twin: "));
    let none = start("reconcile", "none");
    assert_eq!(none.text(&["reconcile"]), "no card\n");
    assert_eq!(none.json(&["reconcile"])["read"], Value::Null);
}

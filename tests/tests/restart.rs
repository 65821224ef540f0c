//! The daemon is killed with SIGKILL under traffic and started again, fifty times; the card goes on in
//! its own process, and a holder has what the next daemon needs. Nothing that lives in the card is
//! lost, nothing in it is left behind, and no counter that anybody saw goes back.
//!
//! `RESTARTS=N` asks for another number.

use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::MutexGuard;
use twinpath_tests::netns::{Namespace, Veth, binary, pause, turn, wait_for};
use twinpath_tests::traffic::datagrams;

/// Restarts unless `RESTARTS` says otherwise.
const RESTARTS: u64 = 50;

/// Datagrams in a millisecond; so many restarts in a second at least, or the traffic ends before.
const BURST: u64 = 2;
const MILLISECONDS_EACH: u64 = 400;

/// Target ports, each a flow of its own.
const FLOWS: u16 = 8;

/// A process, killed on drop as SIGKILL does.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str], folder: &Path, output: &str) -> Self {
        let file = |name: String| File::options().create(true).append(true).open(folder.join(name));
        let child = Command::new(binary())
            .args(arguments)
            .current_dir(folder)
            .stdout(file(format!("{output}.out")).expect("the folder is writable"))
            .stderr(file(format!("{output}.log")).expect("the folder is writable"))
            .spawn();
        Self(child.expect("the binary was built"))
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }

    /// Ends it as systemd does, and waits.
    fn stop(mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        wait_for("the end", || self.0.try_wait().expect("it is our child"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder, interfaces, the card's process and a holder.
struct Place {
    folder: PathBuf,
    veths: [Veth; 2],
    processes: Vec<Process>,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn new(rules: &str) -> Self {
        let turn = turn();
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-restart-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let veths = [Veth::new(), Veth::new()];
        let place = Self { folder, veths, processes: Vec::new(), _turn: turn };
        place.write("rules.flows", rules);
        let ports = |key: &str| -> String {
            let port = |(index, Veth { near, .. }): (usize, &Veth)| {
                format!("[[port]]\nnumber = {}\n{key} = \"packet:{near}\"\n", index + 1)
            };
            place.veths.iter().enumerate().map(port).collect()
        };
        place.write("card.toml", &format!("device = \"sim\"\n{}", ports("wire")));
        let head = "device = \"vfio-user:card.sock\"\nrules = \"rules.flows\"\n\
                    control = \"control\"\nhold = \"hold.sock\"\n";
        place.write("daemon.toml", &format!("{head}{}", ports("standby")));
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("the folder is writable");
    }

    fn hold_and_serve(&mut self) {
        for (arguments, name, socket) in [
            (&["hold", "--socket", "hold.sock"][..], "hold", "hold.sock"),
            (&["sim", "--socket", "card.sock", "card.toml"][..], "card", "card.sock"),
        ] {
            self.processes.push(Process::start(arguments, &self.folder, name));
            wait_for(socket, || self.folder.join(socket).exists().then_some(()));
        }
    }

    /// Two hosts at the card's ports: 10.9.0.1 and 10.9.0.2.
    fn hosts(&self) -> (Namespace, Namespace) {
        let hosts = (Namespace::new(), Namespace::new());
        hosts.0.adopt(&self.veths[0].far, 1);
        hosts.1.adopt(&self.veths[1].far, 2);
        hosts
    }

    fn wait_for_card(&self, health: &str) {
        wait_for(health, || (self.stats()["card"]["health"] == health).then_some(()));
    }

    fn daemon(&self) -> Process {
        Process::start(&["run", "--json", "daemon.toml"], &self.folder, "daemon")
    }

    fn ask(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new(binary())
            .args(arguments)
            .args(["--socket", "control"])
            .current_dir(&self.folder)
            .output()
            .expect("the binary was built");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn stats(&self) -> Value {
        let text = wait_for("statistics", || self.ask(&["stats", "--json"]));
        serde_json::from_str(&text).expect("JSON")
    }

    /// The last summary that a daemon wrote.
    fn summary(&self) -> Value {
        let text = fs::read_to_string(self.folder.join("daemon.out")).expect("it was written");
        let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        values.map(|value| value.expect("JSON")).last().expect("a summary")
    }

    fn log(&self) -> String {
        let events = self.ask(&["events"]).unwrap_or_default();
        events + &fs::read_to_string(self.folder.join("daemon.log")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        self.processes.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Rules for so many flows, and for whatever else the hosts say.
fn rules() -> String {
    let mut rules = String::new();
    for port in 7_000..7_000 + FLOWS {
        rules += &format!("priority=20,in_port=1,udp,tp_dst={port},actions=output:2\n");
    }
    for (from, to) in [(1, 2), (2, 1)] {
        rules += &format!("priority=10,in_port={from},ip,actions=output:{to}\n");
        rules += &format!("priority=10,in_port={from},arp,actions=output:{to}\n");
    }
    rules
}

/// Every counter that people see, by name.
fn counters(stats: &Value) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let mut take = |name: String, value: &Value| all.extend(value.as_u64().map(|n| (name, n)));
    for name in ["received", "card", "software", "dropped"] {
        take(format!("packets.{name}"), &stats["packets"][name]);
    }
    for port in stats["ports"].as_array().expect("ports") {
        for name in ["rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "tx_dropped"] {
            take(format!("port {} {name}", port["number"]), &port[name]);
        }
    }
    for rule in stats["rules"].as_array().expect("rules") {
        for name in ["packets", "bytes"] {
            let matching = rule["match"].as_str().unwrap_or_default();
            take(format!("rule {} {matching} {name}", rule["priority"]), &rule[name]);
        }
    }
    all
}

/// Checks that no counter went back.
fn check_on(before: &Value, after: &Value) {
    let after = counters(after);
    for (name, earlier) in counters(before) {
        if let Some((_, later)) = after.iter().find(|(other, _)| *other == name) {
            assert!(*later >= earlier, "{name} went back from {earlier} to {later}");
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Every place is read back: nothing is there that should not be, and nothing is missing.
fn check_card(place: &Place) -> Value {
    let stats = wait_for("two passes over the card", || {
        let stats = place.stats();
        (number(&stats["reconcile"]["passes"]) >= 2).then_some(stats)
    });
    let reconcile = &stats["reconcile"];
    for name in ["orphans", "missing", "altered"] {
        assert_eq!(number(&reconcile[name]), 0, "{reconcile}");
    }
    assert!(number(&stats["flows"]["entries"]) >= FLOWS.into(), "{}", stats["flows"]);
    stats
}

/// Each packet has one fate, and for nearly all of `count` it was the card's to decide.
fn check_sum(packets: &Value, count: u64) {
    let causes = packets["lost"].as_object().expect("causes").values();
    let lost: u64 = causes.map(number).sum();
    let [received, card, software] =
        ["received", "card", "software"].map(|name| number(&packets[name]));
    assert_eq!(received, card + software + lost, "{packets}");
    assert!(card > count * 9 / 10, "the card took nearly all: {packets}");
}

#[test]
fn killed_and_started_again_the_daemon_takes_over_a_card_that_never_stopped() {
    let restarts = std::env::var("RESTARTS").ok().and_then(|text| text.parse().ok());
    let restarts = restarts.unwrap_or(RESTARTS);
    let mut place = Place::new(&rules());
    let (left, right) = place.hosts();
    place.hold_and_serve();
    let mut daemon = place.daemon();
    place.wait_for_card("good");
    left.run("ping -n -c 3 -i 0.2 -W 5 10.9.0.2");
    // The flows go into the card.
    let target = ([10, 9, 0, 2].into(), 7_000, FLOWS);
    let warm = datagrams(&left, &right, target, (2_000, BURST));
    assert_eq!(warm.received, warm.sent, "before anything happens");
    let count = BURST * MILLISECONDS_EACH * restarts;
    let mut seen_last = place.stats();
    let seen = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| datagrams(&left, &right, target, (count, BURST)));
        for restart in 0..restarts {
            assert!(!traffic.is_finished(), "no traffic left at restart {restart}");
            // A change of rules is under way when the kill comes, sooner or later.
            let rule =
                format!("priority=30,in_port=1,udp,tp_dst={},actions=output:2", 9_000 + restart);
            let change = scope.spawn({
                let place = &place;
                move || place.ask(&["rules", "add", &rule])
            });
            (0..restart % 4).for_each(|_| pause());
            daemon.kill();
            let _ = change.join();
            (0..1 + restart % 7).for_each(|_| pause());
            if restart % 2 == 1 {
                // One that is killed while it takes over leaves all to the next.
                let mut hasty = place.daemon();
                (0..restart / 2 % 5).for_each(|_| pause());
                hasty.kill();
            }
            daemon = place.daemon();
            let stats = place.stats();
            check_on(&seen_last, &stats);
            seen_last = stats;
            let health = wait_for("the card", || {
                let stats = place.stats();
                (stats["card"]["health"] == "good").then_some(stats)
            });
            assert_eq!(number(&health["packets"]["lost"]["card_gone"]), 0, "{health}");
            let events = place.ask(&["events"]).expect("the daemon answers");
            assert!(events.contains("is taken over with"), "{events}");
            assert!(!events.contains("reset"), "{events}");
        }
        traffic.join().expect("traffic ended")
    });
    let lost = seen.sent - seen.received;
    eprintln!("{seen:?}, {lost} lost; {}", seen_last["packets"]);
    assert_eq!((lost, seen.repeated), (0, 0), "{seen:?}");
    let stats = check_card(&place);
    check_on(&seen_last, &stats);
    let total = number(&stats["packets"]["card"]) + number(&stats["packets"]["software"]);
    assert!(total >= seen.received + warm.received - number(&stats["packets"]["lost"]["restart"]));
    // What no rule wants any more is not forwarded: nobody has forgotten an entry in the card.
    place.ask(&["rules", "del", ""]).expect("the daemon answers");
    let after = datagrams(&left, &right, target, (400, BURST));
    assert_eq!(after.received, 0, "an entry outlived its rule");
    daemon.stop();
    let summary = place.summary();
    let [stats, summary] = [stats, summary].map(|mut value| {
        // The rules are gone, and their counters with them.
        value["rules"] = Value::Array(Vec::new());
        value
    });
    check_on(&stats, &summary);
    check_sum(&summary["packets"], count);
}

#[test]
fn what_the_last_daemon_left_is_taken_over_or_refused_in_one_line() {
    let mut place = Place::new(&rules());
    let (left, _right) = place.hosts();
    let mut daemon = place.daemon();
    wait_for("the end", || daemon.0.try_wait().expect("it is our child"));
    let told = place.log();
    assert!(told.contains("start one with: twinpath hold --socket"), "{told}");
    place.hold_and_serve();
    let ping = || left.run("ping -n -c 4 -i 0.1 -W 5 10.9.0.2");
    let start = || {
        let daemon = place.daemon();
        place.wait_for_card("good");
        (daemon, place.ask(&["events"]).expect("the daemon answers"))
    };
    let (daemon, _) = start();
    ping();
    // An ordinary end leaves the card to the next one too.
    daemon.stop();
    let before = place.summary();
    let (mut daemon, events) = start();
    assert!(events.contains("is taken over with"), "{events}");
    check_on(&before, &place.stats());
    let state = place.folder.join("daemon.state");
    let whole = |place: &Place| fs::read(place.folder.join("daemon.state")).expect("it is there");
    let mut newer = whole(&place);
    newer[8] = 9;
    let torn = whole(&place)[..100].to_vec();
    let cases: [(&[u8], &str); 3] = [
        (&torn, "damaged, its check word is wrong"),
        (b"precious file of somebody else, long enough to be a state", "not a state file"),
        (&newer, "written by a newer twinpath (state version 9"),
    ];
    for (bytes, reason) in cases {
        daemon.kill();
        fs::write(&state, bytes).expect("the folder is writable");
        let events;
        (daemon, events) = start();
        assert!(events.contains("the card is reset: "), "{events}");
        assert!(events.contains(reason), "{reason}: {events}");
        ping();
    }
    // Without its state nothing is known of the card either; without the descriptors nothing is left.
    daemon.kill();
    fs::remove_file(&state).expect("it was there");
    let events;
    (daemon, events) = start();
    assert!(events.contains("there is none"), "{events}");
    daemon.kill();
    place.processes.remove(0);
    let holder = &["hold", "--socket", "hold.sock"][..];
    place.processes.push(Process::start(holder, &place.folder, "hold"));
    wait_for("the holder", || {
        let path = place.folder.join("hold.sock");
        std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.raw_os_error() == Some(91))
            .then_some(())
    });
    let daemon = place.daemon();
    place.wait_for_card("good");
    let events = place.ask(&["events"]).expect("the daemon answers");
    assert!(!events.contains("is taken over with"), "{events}");
    daemon.stop();
}

#[test]
fn a_drained_card_stays_drained_over_a_kill() {
    let mut place = Place::new(&rules());
    let (left, _right) = place.hosts();
    place.hold_and_serve();
    let mut daemon = place.daemon();
    let is = |health: &str| place.wait_for_card(health);
    let ping = || left.run("ping -n -c 4 -i 0.1 -W 5 10.9.0.2");
    is("good");
    ping();
    place.ask(&["card", "drain"]).expect("the daemon answers");
    daemon.kill();
    let mut daemon = place.daemon();
    is("bypass");
    ping();
    let shown = place.ask(&["card", "show"]).expect("the daemon answers");
    assert!(shown.contains("drained"), "{shown}");
    assert_eq!(number(&place.stats()["flows"]["entries"]), 0, "software forwards");
    place.ask(&["card", "resume"]).expect("the daemon answers");
    is("good");
    daemon.kill();
    let daemon = place.daemon();
    is("good");
    ping();
    let events = place.ask(&["events"]).expect("the daemon answers");
    assert!(events.contains("is taken over with"), "{events}");
    daemon.stop();
}

//! Faults of the simulated card and orders to the card, by process.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A run on the simulated card that goes on until it is dropped.
struct Running {
    folder: PathBuf,
    child: Child,
}

impl Running {
    fn start(name: &str, sim: &str) -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-fault-{name}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("r.flows"), "in_port=1,actions=output:2\n").unwrap();
        let config = format!(
            "device = \"sim\"\nrules = \"r.flows\"\ncontrol = \"c.sock\"\n{sim}\
             [[port]]\nnumber = 1\nwire = \"gen:flows=10,rate=20k\"\n[[port]]\nnumber = 2\n"
        );
        fs::write(folder.join("c.toml"), config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_twinpath"))
            .arg("run")
            .arg(folder.join("c.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { folder, child };
        running.wait_until("up", || running.ask(&["stats"]).status.success());
        running
    }

    fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..500 {
            if done() {
                return;
            }
            let _ = Command::new("sleep").arg("0.02").status();
        }
        panic!("{what}: not in time");
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_twinpath"))
            .args(arguments)
            .arg("--socket")
            .arg(self.folder.join("c.sock"))
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.ask(&all);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn fired(&self, class: &str) -> u64 {
        let list = self.json(&["sim", "fault", "list"]);
        let faults = list["faults"].as_array().unwrap();
        faults.iter().find(|fault| fault["class"] == class).unwrap()["fired"].as_u64().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn faults_are_set_fire_and_are_cleared() {
    let running = Running::start("set", "");
    running.json(&["sim", "fault", "set", "interrupt-lost", "--one-in", "2"]);
    running.wait_until("a fault by chance", || running.fired("interrupt-lost") > 0);
    running.json(&["sim", "fault", "once", "engine-dead", "--for", "50ms"]);
    running.wait_until("a failure", || running.json(&["card", "show"])["failures"] != 0);
    assert_eq!(running.fired("engine-dead"), 1);
    let cleared = running.json(&["sim", "fault", "clear"]);
    assert!(cleared["faults"].as_array().unwrap().iter().all(|fault| fault["one_in"] == 0));
    running.wait_until("recovery", || {
        let card = running.json(&["card", "show"]);
        card["health"] == "good" && card["standing"] == "trusted"
    });
    let unknown = running.ask(&["sim", "fault", "once", "gremlin"]);
    assert_eq!(unknown.status.code(), Some(2));
    let told = String::from_utf8(unknown.stderr).unwrap();
    assert!(told.contains("gremlin") && told.contains("sim fault list"), "{told}");
}

#[test]
fn the_configuration_makes_the_card_fail_from_the_beginning() {
    let faults = "[sim.faults]\nseed = 3\none_in = { interrupt-lost = 3 }\n\
                  script = [{ class = \"reset-wanted\", at = 0.1 }]\n";
    let running = Running::start("config", faults);
    running.wait_until("the script", || running.fired("reset-wanted") == 1);
    running.wait_until("the rate", || running.fired("interrupt-lost") > 0);
    running.wait_until("recovery", || {
        let card = running.json(&["card", "show"]);
        card["failures"] == 1 && card["health"] == "good"
    });
}

#[test]
fn a_card_is_drained_and_resumed() {
    let running = Running::start("drain", "");
    let used = || {
        let card = running.json(&["card", "show"]);
        let tables = card["tables"].as_array().unwrap().clone();
        tables.iter().map(|table| table["used"].as_u64().unwrap()).sum::<u64>()
    };
    running.wait_until("flows in the card", || used() > 0);
    assert_eq!(running.json(&["card", "drain"])["standing"], "drained");
    running.wait_until("no flows in the card", || used() == 0);
    let stats = running.json(&["stats"]);
    assert_eq!(stats["card"]["health"], "bypass");
    assert_eq!(stats["packets"]["lost"], Value::Object(serde_json::Map::new()));
    assert_eq!(stats["counter_gap"], Value::Null);
    assert_eq!(running.json(&["card", "resume"])["standing"], "trusted");
    running.wait_until("flows in the card again", || used() > 0);
}

//! Faults of the simulated card and orders to the card.

use crate::running::Running;
use serde_json::Value;

/// A run on the simulated card, with this in its configuration.
fn start(name: &str, sim: &str) -> Running {
    let config = format!(
        "device = \"sim\"\nrules = \"r.flows\"\n{sim}\
         [[port]]\nnumber = 1\nwire = \"gen:flows=10,rate=20k\"\n[[port]]\nnumber = 2\n"
    );
    let rules = "in_port=1,actions=output:2\n";
    Running::start(&format!("fault-{name}"), &config, &[("r.flows", rules)])
}

fn fired(running: &Running, class: &str) -> u64 {
    let list = running.json(&["sim", "fault", "list"]);
    let faults = list["faults"].as_array().unwrap();
    faults.iter().find(|fault| fault["class"] == class).unwrap()["fired"].as_u64().unwrap()
}

#[test]
fn faults_are_set_fire_and_are_cleared() {
    let running = start("set", "");
    running.json(&["sim", "fault", "set", "interrupt-lost", "--one-in", "2"]);
    running.wait_until("a fault by chance", || fired(&running, "interrupt-lost") > 0);
    running.json(&["sim", "fault", "once", "engine-dead", "--for", "50ms"]);
    running.wait_until("a failure", || running.json(&["card", "show"])["failures"] != 0);
    assert_eq!(fired(&running, "engine-dead"), 1);
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
    let running = start("config", faults);
    running.wait_until("the script", || fired(&running, "reset-wanted") == 1);
    running.wait_until("the rate", || fired(&running, "interrupt-lost") > 0);
    running.wait_until("recovery", || {
        let card = running.json(&["card", "show"]);
        card["failures"] == 1 && card["health"] == "good"
    });
}

#[test]
fn a_card_is_drained_and_resumed() {
    let running = start("drain", "");
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

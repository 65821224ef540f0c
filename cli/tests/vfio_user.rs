//! The simulated card in a process of its own: same frames as in software, and it comes back.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const RULES: &str = "priority=10,udp,in_port=1 actions=set_field:10.9.9.9->ip_dst,output:2\n\
                     priority=5,in_port=1 actions=push_vlan:0x8100,set_field:4103->vlan_vid,output:2\n";

/// Frames of the generator.
const COUNT: u64 = 10_000;

fn twinpath() -> Command {
    Command::new(env!("CARGO_BIN_EXE_twinpath"))
}

/// Looks again until `done`, at most about twenty seconds.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        let _ = Command::new("sleep").arg("0.02").status();
    }
    panic!("{what}: not within twenty seconds");
}

/// A folder with a configuration, and the processes started there.
struct Place {
    folder: PathBuf,
    children: Vec<Child>,
}

impl Place {
    fn new(name: &str, standby: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("twinpath-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("r.flows"), RULES).unwrap();
        let place = Self { folder, children: Vec::new() };
        place.configure("remote", "vfio-user:card.sock", standby);
        place.configure("software", "none", "");
        place
    }

    fn configure(&self, name: &str, device: &str, standby: &str) {
        let config = format!(
            "device = \"{device}\"\nrules = \"r.flows\"\ncontrol = \"{name}.sock\"\n\
             [[port]]\nnumber = 1\n\
             wire = \"gen:flows=50,rate=4000,count={COUNT},proto=udp*3+tcp,size=64-200\"\n\
             {standby}\n[[port]]\nnumber = 2\nwire = \"pcap:out={name}.pcap\"\n"
        );
        fs::write(self.path(&format!("{name}.toml")), config).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn start(&mut self, arguments: &[&str]) -> usize {
        let mut command = twinpath();
        let child = command.args(arguments).current_dir(&self.folder).stdout(Stdio::piped());
        self.children.push(child.stderr(Stdio::null()).spawn().unwrap());
        self.children.len() - 1
    }

    fn serve(&mut self) -> usize {
        let _ = fs::remove_file(self.path("card.sock"));
        let server = self.start(&["sim", "--socket", "card.sock", "remote.toml"]);
        wait_until("the server", || self.path("card.sock").exists());
        server
    }

    fn stats(&self) -> Option<Value> {
        let output =
            twinpath().args(["stats", "--json", "--socket"]).arg(self.path("remote.sock")).output();
        serde_json::from_slice(&output.unwrap().stdout).ok()
    }

    fn health(&self) -> Option<String> {
        Some(self.stats()?["card"]["health"].as_str()?.to_owned())
    }

    fn interrupt(&mut self, child: usize) -> Vec<u8> {
        let id = self.children[child].id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let child = self.children.remove(child);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The frames of a capture, sorted.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut frames = Vec::new();
    let mut rest = &bytes[24..];
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        frames.push(tail[..length].to_vec());
        rest = &tail[length..];
    }
    frames.sort();
    frames
}

#[test]
fn a_card_in_another_process_forwards_what_software_would() {
    let mut place = Place::new("remote", "");
    let server = place.serve();
    let run = place.start(&["run", "remote.toml", "--json"]);
    wait_until("all frames", || {
        place.stats().is_some_and(|stats| stats["packets"]["received"] == COUNT)
    });
    let summary: Value = serde_json::from_slice(&place.interrupt(run)).unwrap();
    place.interrupt(server);
    let software = place.start(&["run", "software.toml"]);
    assert!(place.children[software].wait().unwrap().success());
    assert_eq!(summary["device"], "vfio-user");
    assert_eq!(summary["packets"]["held"], 0, "{summary}");
    assert_eq!(summary["packets"]["lost"], serde_json::json!({}), "{summary}");
    // On a busy machine the first entry's hold queue may overflow, and it is offered again later.
    assert!(summary["offload_ratio_second_half"].as_f64().unwrap() > 0.9, "{summary}");
    assert_eq!(summary["ports"][1]["tx_packets"], COUNT);
    let rules = summary["rules"].as_array().unwrap();
    let counted: u64 = rules.iter().map(|rule| rule["packets"].as_u64().unwrap()).sum();
    assert_eq!(counted, COUNT);
    let remote = frames(&place.path("remote.pcap"));
    assert_eq!(remote.len() as u64, COUNT);
    assert!(remote == frames(&place.path("software.pcap")), "frames differ");
}

#[test]
fn a_card_that_is_gone_is_taken_up_again_when_it_is_served_anew() {
    let mut place = Place::new("anew", "standby = \"gen:flows=3,rate=1000\"");
    let server = place.serve();
    place.start(&["run", "remote.toml", "--json"]);
    wait_until("the card", || place.health().as_deref() == Some("good"));
    place.children[server].kill().unwrap();
    place.children[server].wait().unwrap();
    wait_until("its end", || place.health().as_deref() == Some("gone"));
    let before = place.stats().unwrap();
    wait_until("the standby", || {
        let now = place.stats().unwrap();
        now["packets"]["software"].as_u64() > before["packets"]["software"].as_u64()
    });
    // Port 2 has no standby: what goes there is dropped and counted.
    let now = place.stats().unwrap();
    assert!(now["ports"][1]["tx_dropped"].as_u64() > Some(0), "{now}");
    let events = twinpath().args(["events", "--socket"]).arg(place.path("remote.sock")).output();
    let events = String::from_utf8(events.unwrap().stdout).unwrap();
    assert!(events.contains("port 1 is on its standby"), "{events}");
    assert!(events.contains("port 2 is down: it has no standby"), "{events}");
    place.serve();
    wait_until("its return", || place.health().as_deref() == Some("good"));
    wait_until("new entries", || {
        let decided = |stats: &Value| stats["packets"]["card"].as_u64();
        decided(&place.stats().unwrap()) > decided(&now)
    });
}

#[test]
fn without_a_server_one_line_tells_how_to_start_one() {
    let place = Place::new("nobody", "");
    let output = twinpath().args(["run", "remote.toml"]).current_dir(&place.folder).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        line,
        "twinpath: ./card.sock: No such file or directory (os error 2); a simulated card is \
         served there by: twinpath sim --socket ./card.sock CONFIG\n"
    );
}

//! The process of the simulated card is killed under traffic, twenty times, with SIGKILL: standby
//! wires on the same interfaces go on, and each new process is taken up again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use twinpath_tests::netns::{Namespace, Twinpath, pause, run, wait_for};
use twinpath_tests::traffic::datagrams;

const RULES: &str = "\
priority=10,in_port=1,ip,actions=output:2
priority=10,in_port=2,ip,actions=output:1
priority=10,in_port=1,arp,actions=output:2
priority=10,in_port=2,arp,actions=output:1
";

/// Kills.
const KILLS: u64 = 20;

/// Datagrams in a millisecond, and all of them: about 25 s of traffic.
const BURST: u64 = 2;
const COUNT: u64 = 50_000;

/// Milliseconds that a kill may cost: until the daemon sees the end of the connection and has its
/// standby sockets open, on a busy machine.
const BLIND_MS: u64 = 10;

/// A process that serves the card, killed on drop.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Self {
        let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/twinpath");
        let binary = std::env::var_os("TWINPATH_BIN").map_or_else(default, PathBuf::from);
        let child = Command::new(binary)
            .args(["sim", "--socket"])
            .arg(folder.join("card.sock"))
            .arg(folder.join("card.toml"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `kill` sends SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder and interfaces, removed on drop.
struct Place {
    folder: PathBuf,
    interfaces: [(String, String); 2],
}

impl Place {
    fn new() -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-kill-{id}"));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let interfaces = [1, 2].map(|side| {
            let (near, far) = (format!("twk{id}n{side}"), format!("twk{id}f{side}"));
            run(&format!("ip link add {near} type veth peer name {far}"));
            run(&format!("sysctl -qw net.ipv6.conf.{near}.disable_ipv6=1"));
            run(&format!("ip link set {near} up"));
            (near, far)
        });
        Self { folder, interfaces }
    }

    /// The ports, with `key` naming what they are attached to.
    fn ports(&self, keys: &[&str]) -> String {
        let mut text = String::new();
        for (index, (near, _)) in self.interfaces.iter().enumerate() {
            text += &format!("[[port]]\nnumber = {}\n", index + 1);
            for key in keys {
                text += &format!("{key} = \"packet:{near}\"\n");
            }
        }
        text
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (near, _) in &self.interfaces {
            let _ = Command::new("ip").args(["link", "del", near]).stderr(Stdio::null()).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn health(twinpath: &Twinpath) -> String {
    twinpath.stats()["card"]["health"].as_str().unwrap_or_default().to_owned()
}

fn is(twinpath: &Twinpath, wanted: &str) {
    wait_for(wanted, || (health(twinpath) == wanted).then_some(()));
}

#[test]
fn twenty_kills_under_traffic_cost_what_was_inside() {
    let place = Place::new();
    let (left, right) = (Namespace::new(), Namespace::new());
    let config = format!("device = \"sim\"\n{}", place.ports(&["wire"]));
    std::fs::write(place.folder.join("card.toml"), config).expect("the folder is writable");
    let mut server = Server::start(&place.folder);
    let socket = place.folder.join("card.sock");
    wait_for("the server", || socket.exists().then_some(()));
    let device = format!("device = \"vfio-user:{}\"", socket.display());
    let daemon = Twinpath::start(&format!("{device}\n{}", place.ports(&["standby"])), RULES);
    left.adopt(&place.interfaces[0].1, 1);
    right.adopt(&place.interfaces[1].1, 2);
    is(&daemon, "good");
    left.run("ping -n -c 2 -W 5 10.9.0.2");
    let target = ([10, 9, 0, 2].into(), 7_000, 4);
    let seen = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| datagrams(&left, &right, target, (COUNT, BURST)));
        for kill in 0..KILLS {
            (0..20).for_each(|_| pause());
            assert!(!traffic.is_finished(), "no traffic left at kill {kill}");
            drop(server);
            is(&daemon, "gone");
            (0..20).for_each(|_| pause());
            server = Server::start(&place.folder);
            is(&daemon, "good");
        }
        traffic.join().expect("traffic ended")
    });
    let summary = daemon.stop();
    let lost = seen.sent - seen.received;
    eprintln!("{seen:?}, {lost} lost");
    assert!(lost <= KILLS * BLIND_MS * BURST, "{lost} lost: {seen:?}");
    // Both processes look at the interfaces for a moment when a card is taken up again.
    assert!(seen.repeated <= KILLS * BLIND_MS * BURST, "{seen:?}");
    let packets = &summary["packets"];
    let number = |name: &str| packets[name].as_u64().expect("a number");
    assert!(number("card") > COUNT / 10, "the card took its part: {packets}");
    assert!(number("software") > COUNT / 10, "and the standby wires: {packets}");
    assert_eq!(number("held"), 0, "{packets}");
    let causes = packets["lost"].as_object().expect("causes").values();
    let lost: u64 = causes.filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(number("received"), number("card") + number("software") + lost, "{packets}");
}

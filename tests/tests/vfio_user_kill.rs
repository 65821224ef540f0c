//! The process of the simulated card is killed under traffic, twenty times, with SIGKILL: standby
//! wires on the same interfaces go on, and each new process is taken up again.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;
use twinpath_tests::netns::{Namespace, Twinpath, Veth, binary, pause, turn, wait_for};
use twinpath_tests::traffic::{Conversation, Flood, datagrams};

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

/// A process that serves the card, killed on drop.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Self {
        let child = Command::new(binary())
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

/// A folder and interfaces, removed on drop. One at a time: two would share two cores.
struct Place {
    folder: PathBuf,
    veths: [Veth; 2],
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn new() -> Self {
        let turn = turn();
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-kill-{id}"));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let veths = [Veth::new(), Veth::new()];
        Self { folder, veths, _turn: turn }
    }

    /// The ports, with `key` naming what they are attached to.
    fn ports(&self, keys: &[&str]) -> String {
        let mut text = String::new();
        for (index, Veth { near, .. }) in self.veths.iter().enumerate() {
            text += &format!("[[port]]\nnumber = {}\n", index + 1);
            for key in keys {
                text += &format!("{key} = \"packet:{near}\"\n");
            }
        }
        text
    }

    /// Frames that came to our ends of the wires, whether anybody took them or not.
    fn arrived(&self) -> u64 {
        let count = |Veth { near, .. }: &Veth| {
            let path = format!("/sys/class/net/{near}/statistics/rx_packets");
            let text = std::fs::read_to_string(path).expect("the interface is there");
            text.trim().parse::<u64>().expect("the kernel writes a number")
        };
        self.veths.iter().map(count).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn health(twinpath: &Twinpath) -> String {
    twinpath.stats()["card"]["health"].as_str().unwrap_or_default().to_owned()
}

fn is(twinpath: &Twinpath, wanted: &str) {
    wait_for(wanted, || (health(twinpath) == wanted).then_some(()));
}

/// A card in a process of its own, a daemon with standby wires, and two hosts that know each other.
struct Scene {
    place: Place,
    server: Option<Server>,
    daemon: Twinpath,
    left: Namespace,
    right: Namespace,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let (left, right) = (Namespace::new(), Namespace::new());
        let config = format!("device = \"sim\"\n{}", place.ports(&["wire"]));
        std::fs::write(place.folder.join("card.toml"), config).expect("the folder is writable");
        let server = Some(Server::start(&place.folder));
        let socket = place.folder.join("card.sock");
        wait_for("the server", || socket.exists().then_some(()));
        let device = format!("device = \"vfio-user:{}\"", socket.display());
        let daemon = Twinpath::start(&format!("{device}\n{}", place.ports(&["standby"])), RULES);
        left.adopt(&place.veths[0].far, 1);
        right.adopt(&place.veths[1].far, 2);
        is(&daemon, "good");
        left.run("ping -n -c 2 -W 5 10.9.0.2");
        Self { place, server, daemon, left, right }
    }

    /// Kills the card's process, and starts another a fifth of a second later.
    fn kill(place: &Place, server: &mut Option<Server>, daemon: &Twinpath) {
        (0..20).for_each(|_| pause());
        *server = None;
        is(daemon, "gone");
        (0..20).for_each(|_| pause());
        *server = Some(Server::start(&place.folder));
        is(daemon, "good");
    }
}

/// Prints how long the card was dead before that was seen, and until software went on.
fn print_times(daemon: &Twinpath) {
    let events = daemon.command(&["events"]);
    for what in ["the card is gone,", "standby wires are open after", "packet over standby after"] {
        let time = |line: &str| -> Option<f64> {
            let (_, rest) = line.split_once(what)?;
            rest.trim_start().split(' ').next()?.parse().ok()
        };
        let mut all: Vec<f64> = events.lines().filter_map(time).collect();
        all.sort_by(f64::total_cmp);
        let most = all.last().expect("it is told at each kill");
        eprintln!(
            "{what}: median {} ms, at most {most} ms, {} kills",
            all[all.len() / 2],
            all.len()
        );
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Lost packets of all causes; and every packet has one fate.
fn lost(packets: &Value) -> u64 {
    let causes = packets["lost"].as_object().expect("causes").values();
    let lost: u64 = causes.map(number).sum();
    assert_eq!(number(&packets["held"]), 0, "{packets}");
    let decided = number(&packets["card"]) + number(&packets["software"]);
    assert_eq!(number(&packets["received"]), decided + lost, "{packets}");
    lost
}

#[test]
fn twenty_kills_under_traffic_cost_what_was_inside() {
    let Scene { place, mut server, daemon, left, right } = Scene::new();
    let target = ([10, 9, 0, 2].into(), 7_000, 4);
    let seen = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| datagrams(&left, &right, target, (COUNT, BURST)));
        for kill in 0..KILLS {
            assert!(!traffic.is_finished(), "no traffic left at kill {kill}");
            Scene::kill(&place, &mut server, &daemon);
        }
        traffic.join().expect("traffic ended")
    });
    print_times(&daemon);
    let arrived = place.arrived();
    let summary = daemon.stop();
    let packets = &summary["packets"];
    let (missing, inside) = (seen.sent - seen.received, lost(packets));
    // In the socket queues of a dead process, or at a wire that nobody listened at.
    let untaken = arrived.saturating_sub(number(&packets["received"]));
    eprintln!("{seen:?}: {missing} missing, {inside} lost inside, {untaken} taken by nobody");
    eprintln!("{packets}");
    // Both processes look at the interfaces for a moment when a card is taken up again: such a frame
    // was received twice, and stands for one that was not.
    let untaken = untaken + seen.repeated;
    assert!(missing <= inside + untaken, "{missing} missing: {inside} inside, {untaken} untaken");
    assert!(missing < COUNT / 20 && seen.repeated < COUNT / 20, "{missing} missing: {seen:?}");
    assert!(number(&packets["card"]) > COUNT / 10, "the card took its part: {packets}");
    assert!(number(&packets["software"]) > COUNT / 10, "and the standby wires: {packets}");
}

#[test]
fn a_tcp_connection_outlives_five_kills_of_its_card_with_every_byte() {
    let Scene { place, mut server, daemon, left, right } = Scene::new();
    let flood = Flood::start(&left, &right, ([10, 9, 0, 2], 5_001).into());
    let conversation = Conversation::start(&right, &left, ([10, 9, 0, 1], 5_002).into());
    (0..5).for_each(|_| Scene::kill(&place, &mut server, &daemon));
    (0..20).for_each(|_| pause());
    let answered = conversation.end();
    let [sent, received] = flood.end();
    print_times(&daemon);
    let again = left.stack_counter("TcpRetransSegs");
    eprintln!("{} bytes, {again} segments again; {answered} answers", sent.0);
    assert_eq!(sent, received, "bytes and checksum");
    assert!(sent.0 > 8 << 20 && answered > 20, "{sent:?}, {answered} answers");
    let summary = daemon.stop();
    let packets = &summary["packets"];
    lost(packets);
    assert!(number(&packets["card"]) > 0 && number(&packets["software"]) > 0, "{packets}");
}

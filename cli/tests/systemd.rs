//! systemd's descriptor store, played by hand: what a unit's main process gives away over NOTIFY_SOCKET
//! comes back to the next one as LISTEN_FDS (sd_notify(3), sd_listen_fds(3)).

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CONFIG: &str = "\
device = \"vfio-user:card.sock\"
rules = \"r.flows\"
control = \"control\"
hold = \"systemd\"
[[port]]
number = 1
wire = \"gen:flows=20,rate=2000\"
[[port]]
number = 2
wire = \"null\"
";

/// Looks again until there is something, at most about twenty seconds.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(found) = look() {
            return found;
        }
        let _ = Command::new("sleep").arg("0.02").status();
    }
    panic!("{what}: not within twenty seconds");
}

/// A service manager with one unit.
struct Manager {
    folder: PathBuf,
    socket: UnixDatagram,
    /// As NOTIFY_SOCKET has it.
    address: String,
    store: BTreeMap<String, OwnedFd>,
    /// Names in order of their arrival or removal, as told.
    told: Vec<String>,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = path.display().to_string();
        let (store, told) = (BTreeMap::new(), Vec::new());
        Self { folder: folder.to_owned(), socket, address, store, told }
    }

    /// Listens at an abstract address from now on, as some managers do.
    fn go_abstract(&mut self) {
        let name = format!("twinpath-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        self.socket = UnixDatagram::bind_addr(&address).unwrap();
        self.socket.set_nonblocking(true).unwrap();
        self.address = format!("@{name}");
    }

    /// Takes what the unit's processes have said.
    fn attend(&mut self) {
        loop {
            let (mut bytes, mut space) =
                ([0; 4096], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))]);
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut buffers = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let Ok(received) = recvmsg(&self.socket, &mut buffers, &mut ancillary, flags) else {
                return;
            };
            let text = String::from_utf8(bytes[..received.bytes].to_vec()).unwrap();
            let brought = ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            });
            let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
            let name = value("FDNAME=").unwrap().to_owned();
            self.told.push(text.replace('\n', " "));
            match (value("FDSTORE="), value("FDSTOREREMOVE=")) {
                (Some("1"), None) => _ = self.store.insert(name, brought.unwrap()),
                (None, Some("1")) => _ = self.store.remove(&name),
                _ => panic!("systemd would not understand {text:?}"),
            }
        }
    }

    /// Starts the unit's main process with what is in the store.
    fn start(&self) -> Child {
        // High numbers first, so that none is in the way of 3, 4, …
        let copy = |descriptor: &OwnedFd| {
            let copy = fcntl_dupfd_cloexec(descriptor, 200).unwrap();
            fcntl_setfd(&copy, FdFlags::empty()).unwrap();
            copy
        };
        let copies: Vec<OwnedFd> = self.store.values().map(copy).collect();
        let numbers = (3..).zip(&copies).map(|(to, from)| (to, from.as_raw_fd()));
        let moved: String = numbers
            .map(|(to, from): (i32, i32)| format!("exec {to}<&{from} {from}<&-; "))
            .collect();
        let names: Vec<&str> = self.store.keys().map(String::as_str).collect();
        // Only the process itself knows its number in time.
        let script = format!("{moved} export LISTEN_PID=$$; exec \"$@\"");
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log"));
        Command::new("bash")
            .args(["-c", &script, "bash", env!("CARGO_BIN_EXE_twinpath"), "run", "daemon.toml"])
            .current_dir(&self.folder)
            .env("NOTIFY_SOCKET", &self.address)
            .env("STATE_DIRECTORY", self.folder.join("state"))
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap()
    }
}

/// A folder with a served card, both gone at the end.
struct Place {
    folder: PathBuf,
    processes: Vec<Child>,
}

impl Place {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-systemd-{name}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("state")).unwrap();
        fs::write(folder.join("daemon.toml"), CONFIG).unwrap();
        fs::write(folder.join("r.flows"), "in_port=1,actions=output:2\n").unwrap();
        let card = Command::new(env!("CARGO_BIN_EXE_twinpath"))
            .args(["sim", "--socket", "card.sock", "daemon.toml"])
            .current_dir(&folder)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the card", || folder.join("card.sock").exists().then_some(()));
        Self { folder, processes: vec![card] }
    }

    fn ask(&self, what: &[&str]) -> Option<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
        command.args(what).args(["--socket", "control"]).current_dir(&self.folder);
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The statistics once the card is good and has decided more than `count` packets.
    fn forwarding(&self, count: u64) -> Value {
        wait_for("packets by the card", || {
            let stats: Value = serde_json::from_str(&self.ask(&["stats", "--json"])?).ok()?;
            let decided = stats["packets"]["card"].as_u64()?;
            (stats["card"]["health"] == "good" && decided > count).then_some(stats)
        })
    }

    fn kill_last(&mut self) {
        let mut last = self.processes.pop().unwrap();
        last.kill().unwrap();
        last.wait().unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        }
        while !self.processes.is_empty() {
            self.kill_last();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The identity that all names begin with, and what follows it.
fn identity(store: &BTreeMap<String, OwnedFd>) -> (String, Vec<String>) {
    let mut parts = store.keys().map(|name| name.split_once('.').unwrap());
    let (identity, _) = parts.clone().next().unwrap();
    assert!(parts.all(|(other, _)| other == identity), "{:?}", store.keys());
    let rest = store.keys().map(|name| name.split_once('.').unwrap().1.to_owned());
    (identity.to_owned(), rest.collect())
}

#[test]
fn a_unit_gets_its_card_back_from_the_store_of_its_manager() {
    let mut place = Place::new("back");
    let mut manager = Manager::new(&place.folder);
    place.processes.push(manager.start());
    let before = place.forwarding(500);
    manager.attend();
    let (first, kinds) = identity(&manager.store);
    assert_eq!(kinds, ["bell0", "bell1", "memory", "socket"]);
    place.kill_last();
    manager.go_abstract();
    let held: Vec<String> = manager.store.keys().cloned().collect();
    place.processes.push(manager.start());
    let after = place.forwarding(before["packets"]["card"].as_u64().unwrap() + 100);
    let events = place.ask(&["events"]).unwrap();
    assert!(events.contains("is taken over with"), "{events}");
    assert!(!events.contains("reset"), "{events}");
    for port in 0..2 {
        let count = |stats: &Value| stats["ports"][port]["rx_packets"].as_u64().unwrap();
        assert!(count(&after) >= count(&before), "a counter went back");
    }
    // It is the same connection under the same names: whenever the second is killed, a third finds it.
    manager.attend();
    assert_eq!(identity(&manager.store), (first, kinds));
    let removed = manager.told.iter().filter(|told| told.contains("FDSTOREREMOVE=1")).count();
    assert_eq!((removed, manager.store.len()), (0, held.len()), "{:?}", manager.told);
    place.kill_last();
    place.processes.push(manager.start());
    place.forwarding(after["packets"]["card"].as_u64().unwrap());
    let events = place.ask(&["events"]).unwrap();
    assert!(events.contains("is taken over with"), "{events}");
}

#[test]
fn without_a_manager_the_unit_says_what_it_lacks() {
    let place = Place::new("none");
    let output = Command::new(env!("CARGO_BIN_EXE_twinpath"))
        .args(["run", "daemon.toml"])
        .current_dir(&place.folder)
        .env_remove("NOTIFY_SOCKET")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the unit needs FileDescriptorStoreMax="), "{told}");
}

//! Network namespaces joined only by a running `twinpath`: the harness of the real-traffic tests.
//!
//! Needs root (`ip netns`, TAP, packet sockets) and the release binary, `TWINPATH_BIN` or
//! `target/release/twinpath`. Whatever is missing fails the test with the remedy. Everything that
//! is set up is taken down on drop. Laboratories take turns: two at once would share two cores and
//! lose frames in the kernel's queues.

use crate::leftovers;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// Longest wait for something that should happen, in hundredths of a second.
const PATIENCE: u32 = 1_500;

static TURN: Mutex<()> = Mutex::new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A short name nobody else has; interface names have 15 characters.
fn fresh(prefix: &str) -> String {
    leftovers::sweep();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{}x{number}", std::process::id())
}

/// Waits until no other test of this binary has real interfaces under load.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits a hundredth of a second.
pub fn pause() {
    // An interrupted wait is only a shorter one.
    let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
}

/// Tries until `attempt` gives something.
///
/// # Panics
/// When it gives nothing for fifteen seconds.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE {
        if let Some(found) = attempt() {
            return found;
        }
        pause();
    }
    panic!("waited in vain for {what}");
}

/// Runs a command line that must succeed and returns its standard output.
///
/// # Panics
/// When it fails or is not installed; the message says what to do.
pub fn run(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    finish(line, Command::new(words[0]).args(&words[1..]).output())
}

fn finish(what: &str, output: io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}; `./check tools` installs"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{what}: {text}{errors}(these tests need root)");
    text.into_owned()
}

/// A network namespace, deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// An empty namespace in which IPv6 addresses are usable at once.
    #[must_use]
    pub fn new() -> Self {
        let namespace = Self { name: fresh("twn") };
        run(&format!("ip netns add {}", namespace.name));
        namespace.run("ip link set lo up");
        namespace.run("sysctl -qw net.ipv6.conf.default.accept_dad=0");
        namespace
    }

    /// Takes an interface, names it `eth0` and gives it the addresses 10.9.0.`host`/24,
    /// fd09::`host`/64 and 02:00:00:00:00:`host`.
    pub fn adopt(&self, interface: &str, host: u8) {
        run(&format!("ip link set {interface} netns {}", self.name));
        self.run(&format!("ip link set {interface} name eth0 address 02:00:00:00:00:{host:02x}"));
        self.run("sysctl -qw net.ipv6.conf.eth0.accept_dad=0");
        // A TAP's queue: on a busy machine the reader may be late by tens of milliseconds.
        self.run("ip link set eth0 txqueuelen 10000 up");
        self.run(&format!("ip address add 10.9.0.{host}/24 dev eth0"));
        self.run(&format!("ip address add fd09::{host:x}/64 dev eth0 nodad"));
        wait_for("the interface to run", || {
            let state = self.run("cat /sys/class/net/eth0/operstate");
            // A TAP never says up.
            ["up", "unknown"].contains(&state.trim()).then_some(())
        });
    }

    /// Runs a command line inside, ended after a minute; it must succeed.
    pub fn run(&self, line: &str) -> String {
        run(&format!("ip netns exec {} timeout 60 {line}", self.name))
    }

    /// Starts a command line inside, killed on drop.
    ///
    /// # Panics
    /// When `ip` is missing.
    #[must_use]
    pub fn start(&self, line: &str) -> Running {
        let words = ["netns", "exec", &self.name].into_iter().chain(line.split_whitespace());
        let child = Command::new("ip").args(words).stdout(Stdio::null()).spawn();
        Running(child.unwrap_or_else(|error| panic!("ip: {error}; `./check tools` installs it")))
    }

    /// Runs `work` in a thread that has moved inside.
    ///
    /// # Panics
    /// In the thread, when it may not move.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let path = Path::new("/run/netns").join(&self.name);
        std::thread::spawn(move || {
            let file = File::open(path).expect("`ip netns add` has made it");
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind)
                .expect("root may change its namespace; these tests need root");
            work()
        })
    }

    /// A counter of the namespace's stack, for instance `UdpRcvbufErrors`.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn stack_counter(&self, name: &str) -> u64 {
        let text = self.run(&format!("nstat -asz {name}"));
        let line = text.lines().find(|line| line.starts_with(name)).expect("nstat names it");
        let value = line.split_whitespace().nth(1).expect("and tells its value");
        value.parse().expect("a number")
    }

    /// A counter of `eth0`, for instance `rx_packets`.
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let text = self.run(&format!("cat /sys/class/net/eth0/statistics/{name}"));
        text.trim().parse().expect("the kernel writes a number")
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A process, killed on drop.
#[derive(Debug)]
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How the simulated card or the software path is attached to the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A TAP moved into each namespace.
    Tap,
    /// A veth with one end in each namespace and a packet socket on the other.
    Veth,
    /// The same with a packet socket that receives in blocks.
    Blocks,
    /// The same with an AF_XDP socket.
    Xdp,
}

/// A running `twinpath`, killed on drop.
#[derive(Debug)]
pub struct Twinpath {
    child: Running,
    folder: PathBuf,
}

/// The program under test: `TWINPATH_BIN`, or the release build.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/twinpath");
    let path = std::env::var_os("TWINPATH_BIN").map_or_else(default, PathBuf::from);
    assert!(path.exists(), "{} is missing; `./check build` makes it", path.display());
    path
}

impl Twinpath {
    /// Starts it with this configuration (without `rules` and `control`) and these rules, and waits
    /// until it answers.
    ///
    /// # Panics
    /// When it ends early or does not answer.
    #[must_use]
    pub fn start(config: &str, rules: &str) -> Self {
        let folder = std::env::temp_dir().join(fresh("twinpath-lab-"));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).expect("the temporary folder is writable");
        };
        write("lab.flows", rules);
        write("lab.toml", &format!("rules = \"lab.flows\"\ncontrol = \"control\"\n{config}"));
        let file = |name| File::create(folder.join(name)).expect("the folder is writable");
        let child = Command::new(binary())
            .args(["run", "--json"])
            .arg(folder.join("lab.toml"))
            .stdout(file("summary.json"))
            .stderr(file("log"))
            .spawn()
            .expect("the binary was found");
        let mut twinpath = Self { child: Running(child), folder };
        wait_for("twinpath to answer", || {
            let ended = twinpath.child.0.try_wait().expect("it is our child");
            assert!(ended.is_none(), "twinpath ended: {}", twinpath.log());
            twinpath.ask(&["stats", "--json"]).is_ok_and(|out| out.status.success()).then_some(())
        });
        twinpath
    }

    fn ask(&self, arguments: &[&str]) -> io::Result<Output> {
        let socket = self.folder.join("control");
        Command::new(binary()).args(arguments).arg("--socket").arg(socket).output()
    }

    /// Runs a command against it, which must succeed; its standard output.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> String {
        finish(&format!("twinpath {arguments:?}"), self.ask(arguments))
    }

    /// `twinpath stats --json`.
    ///
    /// # Panics
    /// When the answer is not JSON.
    #[must_use]
    pub fn stats(&self) -> Value {
        serde_json::from_str(&self.command(&["stats", "--json"])).expect("stats are JSON")
    }

    /// Its number among processes.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.0.id()
    }

    /// What it has written to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends it as Ctrl-C does and returns its summary.
    ///
    /// # Panics
    /// When it does not end, or ends with a failure.
    #[must_use]
    pub fn stop(mut self) -> Value {
        let pid = Pid::from_child(&self.child.0);
        kill_process(pid, Signal::INT).expect("it is our child");
        let status =
            wait_for("twinpath to end", || self.child.0.try_wait().expect("it is our child"));
        assert!(status.success(), "{status}: {}", self.log());
        let text = fs::read_to_string(self.folder.join("summary.json")).expect("it was written");
        serde_json::from_str(&text).expect("the summary is one JSON object")
    }
}

impl Drop for Twinpath {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of twinpath:\n{}", self.log());
        }
        let _ = self.child.0.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A veth pair, deleted on drop. Its near end is up and says nothing of its own accord; its far end
/// is down.
#[derive(Debug)]
pub struct Veth {
    /// Ours.
    pub near: String,
    /// What a namespace may adopt.
    pub far: String,
}

impl Veth {
    /// A pair outside all namespaces of ours.
    #[must_use]
    pub fn new() -> Self {
        let veth = Self { near: fresh("twv"), far: fresh("twv") };
        run(&format!("ip link add {} type veth peer name {}", veth.near, veth.far));
        open_silent(&veth.near);
        veth
    }
}

impl Default for Veth {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        // Gone already when its namespace is.
        let _ = Command::new("ip").args(["link", "del", &self.near]).stderr(Stdio::null()).status();
    }
}

/// Sets an interface up that sends nothing by itself, as IPv6 would.
fn open_silent(interface: &str) {
    run(&format!("sysctl -qw net.ipv6.conf.{interface}.disable_ipv6=1"));
    run(&format!("ip link set {interface} up"));
}

/// Two namespaces, `left` at port 1 and `right` at port 2, joined by `twinpath` alone.
#[derive(Debug)]
pub struct Laboratory {
    /// Forwards between them.
    pub twinpath: Twinpath,
    /// Host 1: 10.9.0.1, fd09::1.
    pub left: Namespace,
    /// Host 2: 10.9.0.2, fd09::2.
    pub right: Namespace,
    links: Vec<Veth>,
    _turn: MutexGuard<'static, ()>,
}

/// What a laboratory is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// `device` and whatever tables follow, for instance `[sim]`.
    pub device: &'a str,
    /// How the hosts are attached.
    pub attachment: Attachment,
    /// Rules; ports 1 and 2 are the hosts.
    pub rules: &'a str,
    /// Whether ports 3 and 4 are the ends of one veth, a trunk for tagged frames.
    pub trunk: Trunk,
}

/// Whether there is a trunk between ports 3 and 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trunk {
    /// Ports 3 and 4 are joined.
    Joined,
    /// There are no such ports.
    Absent,
}

impl Laboratory {
    /// Sets everything up; both hosts' interfaces run when it returns.
    ///
    /// # Panics
    /// When something is missing or refused.
    #[must_use]
    pub fn new(plan: Plan<'_>) -> Self {
        let turn = turn();
        let (left, right) = (Namespace::new(), Namespace::new());
        let mut links = Vec::new();
        let mut wires = Vec::new();
        let mut inside = Vec::new();
        for _ in 0..2 {
            match plan.attachment {
                Attachment::Tap => {
                    let name = fresh("twt");
                    wires.push(format!("tap:{name}"));
                    inside.push(name);
                }
                Attachment::Veth | Attachment::Blocks | Attachment::Xdp => {
                    let veth = Veth::new();
                    let near = &veth.near;
                    wires.push(match plan.attachment {
                        Attachment::Xdp => format!("xdp:{near}"),
                        Attachment::Blocks => format!("packet:{near},receive=blocks"),
                        _ => format!("packet:{near}"),
                    });
                    inside.push(veth.far.clone());
                    links.push(veth);
                }
            }
        }
        if plan.trunk == Trunk::Joined {
            let veth = Veth::new();
            open_silent(&veth.far);
            wires.extend([&veth.near, &veth.far].map(|end| format!("packet:{end}")));
            links.push(veth);
        }
        let ports: String = wires
            .iter()
            .enumerate()
            .map(|(index, wire)| {
                let number = index + 1;
                format!("[[port]]\nnumber = {number}\nname = \"p{number}\"\nwire = \"{wire}\"\n")
            })
            .collect();
        let twinpath = Twinpath::start(&format!("{}\n{ports}", plan.device), plan.rules);
        left.adopt(&inside[0], 1);
        right.adopt(&inside[1], 2);
        Self { twinpath, left, right, links, _turn: turn }
    }

    /// Ends `twinpath`, checks that its totals add up, and returns its summary.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn stop(self) -> Value {
        let Self { twinpath, left, right, links, _turn } = self;
        let summary = twinpath.stop();
        let packets = &summary["packets"];
        let number = |name: &str| packets[name].as_u64().expect("a number");
        let lost: u64 = packets["lost"]
            .as_object()
            .expect("lost packets by cause")
            .values()
            .map(|count| count.as_u64().expect("a number"))
            .sum();
        let sum = number("card") + number("software") + number("held") + lost;
        assert_eq!(number("received"), sum, "{packets}");
        drop((left, right, links));
        summary
    }
}

//! Open vSwitch 3.1 as a judge: private daemons with a dummy datapath, no root needed.
//!
//! One daemon serves many cases. Tunnel ports ride over a bridge of their own that holds the port
//! they are `over`; that port is not a port of the pipeline then.

mod control;

use crate::capture::Follower;
use crate::judge::{Case, Cookies, Device, Outcome, Outputs, hex};
use crate::tool;
use control::Control;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use twinpath_flow::counters::Counts;
use twinpath_flow::port::{OuterTos, PortNo, PortTable, Tunnel, TunnelKind};

/// Numbers the daemons of one test process.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running Open vSwitch with one bridge, `br0`.
#[derive(Debug)]
pub struct Ovs {
    daemons: Daemons,
    control: Control,
    captures: BTreeMap<PortNo, Follower>,
    /// Packets handed to each port so far.
    sent: BTreeMap<PortNo, u64>,
}

/// Running daemons and their folder; both end with the value, also when a test panics.
#[derive(Debug)]
struct Daemons {
    folder: PathBuf,
    children: Vec<Child>,
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for daemon in &mut self.children {
            // It may be dead already; there is nobody to tell.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("ovs-vswitchd.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("ovs-vswitchd: {}", lines[lines.len().saturating_sub(8)..].join("\n"));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Ovs {
    /// Starts daemons with these ports. Remote addresses of tunnels whose peer is set by flows
    /// must be among `neighbours`.
    ///
    /// # Panics
    /// If Open vSwitch is not installed or does not start.
    #[must_use]
    pub fn start(ports: &PortTable, neighbours: &[(&str, &str)]) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("twinpath-ovs-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let mut daemons = Daemons { folder: folder.clone(), children: Vec::new() };
        let control = start_daemons(&folder, &mut daemons.children);
        let over: BTreeSet<PortNo> = ports.tunnels().map(|(_, tunnel)| tunnel.over).collect();
        configure(&folder, ports, &over);
        let captures = ports
            .physical()
            .map(|port| {
                (port.number, Follower::new(folder.join(format!("p{}.pcap", port.number.0))))
            })
            .collect();
        let mut ovs = Self { daemons, control, captures, sent: BTreeMap::new() };
        for (_, tunnel) in ports.tunnels() {
            ovs.connect_underlay(tunnel, neighbours);
        }
        ovs
    }

    /// The socket that `ovs-ofctl` talks to.
    #[must_use]
    pub fn bridge(&self) -> String {
        format!("unix:{}", self.daemons.folder.join("br0.mgmt").display())
    }

    /// Runs `ovs-ofctl -O OpenFlow13` with these arguments.
    ///
    /// # Errors
    /// What it wrote to standard error if it refused.
    pub fn ofctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = tool::command("ovs-ofctl");
        let output = tool::run(command.args(["-O", "OpenFlow13"]).args(arguments));
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// How Open vSwitch dumps one rule.
    ///
    /// # Errors
    /// What it says when it refuses the rule.
    pub fn dump_of(&self, rule: &str) -> Result<String, String> {
        let bridge = self.bridge();
        self.ofctl(&["del-flows", &bridge])?;
        self.ofctl(&["add-flow", &bridge, rule])?;
        self.dump()
    }

    /// How Open vSwitch dumps a file of rules.
    ///
    /// # Errors
    /// What it says when it refuses one.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn dump_of_file(&self, rules: &str) -> Result<String, String> {
        let file = self.daemons.folder.join("text");
        fs::write(&file, format!("{rules}\n")).expect("the folder is writable");
        let bridge = self.bridge();
        self.ofctl(&["del-flows", &bridge])?;
        self.ofctl(&["add-flows", &bridge, file.to_str().expect("a path of ours")])?;
        self.dump()
    }

    fn dump(&self) -> Result<String, String> {
        let dump = self.ofctl(&["dump-flows", "--no-stats", &self.bridge()])?;
        let rules: Vec<_> = dump.lines().filter(|line| line.contains("actions=")).collect();
        Ok(rules.join("\n"))
    }

    /// Addresses, route and neighbours of the bridge below a tunnel port.
    fn connect_underlay(&mut self, tunnel: &Tunnel, neighbours: &[(&str, &str)]) {
        let bridge = underlay(tunnel.over);
        let local = tunnel.local_ip.to_string();
        let [a, b, ..] = tunnel.local_ip.octets();
        self.control.call("netdev-dummy/ip4addr", &[&bridge, &format!("{local}/16")]);
        self.control.call("ovs/route/add", &[&format!("{a}.{b}.0.0/16"), &bridge]);
        if let Some(remote) = tunnel.remote_ip {
            let mac = mac_text(tunnel.peer_mac);
            self.control.call("tnl/arp/set", &[&bridge, &remote.to_string(), &mac]);
        }
        for (address, mac) in neighbours {
            self.control.call("tnl/arp/set", &[&bridge, address, mac]);
        }
    }

    /// Forgets all rules, flows and outputs, then loads the rules of a case.
    ///
    /// # Panics
    /// If Open vSwitch refuses a rule.
    pub fn load(&mut self, case: &Case) {
        let file = self.daemons.folder.join("rules");
        fs::write(&file, case.rules_text(Cookies::Numbered)).expect("the folder is writable");
        let bridge = self.bridge();
        self.ofctl(&["del-flows", &bridge]).expect("the bridge is up");
        let path = file.to_str().expect("a path of ours");
        if let Err(error) = self.ofctl(&["add-flows", &bridge, path]) {
            panic!("{}: {error}\n{}", case.name, case.rules_text(Cookies::Numbered));
        }
        self.control.call("revalidator/purge", &[]);
        self.control.call("revalidator/wait", &[]);
        self.outputs();
    }

    /// Hands packets to their ports, one by one, in order; returns when all are through.
    ///
    /// # Panics
    /// If Open vSwitch does not take them.
    pub fn send(&mut self, packets: &[(PortNo, Vec<u8>)]) {
        let mut last: Option<PortNo> = None;
        for (index, (port, frame)) in packets.iter().enumerate() {
            // Ports are polled in turn: only packets of one port keep their order by themselves.
            // A dummy port queues at most 100.
            if index % 64 == 63 || last.is_some_and(|last| last != *port) {
                self.drain(last.expect("a packet was sent before"));
            }
            self.control.call("netdev-dummy/receive", &[&name(*port), &hex(frame)]);
            *self.sent.entry(*port).or_default() += 1;
            last = Some(*port);
        }
        if let Some(last) = last {
            self.drain(last);
        }
    }

    /// Waits until the datapath has taken every packet of a port.
    fn drain(&mut self, port: PortNo) {
        let wanted = self.sent.get(&port).copied().unwrap_or_default();
        let name = name(port);
        let drained = (0..20_000).any(|_| {
            let text = self.control.call("dpctl/show", &["-s"]);
            received(&text, &name).is_some_and(|count| count >= wanted)
        });
        assert!(drained, "{name} has not taken {wanted} packets");
    }

    /// Frames sent since the last call, by physical port.
    pub fn outputs(&mut self) -> Outputs {
        let mut outputs = Outputs::new();
        for (port, capture) in &mut self.captures {
            let frames = capture.frames();
            if !frames.is_empty() {
                outputs.insert(*port, frames);
            }
        }
        outputs
    }

    /// Flows in the datapath now.
    pub fn flow_count(&mut self) -> usize {
        self.flows().lines().filter(|line| line.contains("packets:")).count()
    }

    /// Flows in the datapath now, as `dpctl/dump-flows` shows them.
    pub fn flows(&mut self) -> String {
        self.control.call("dpctl/dump-flows", &[])
    }

    /// Counters of the rules, when the datapath's have been added to them.
    ///
    /// # Panics
    /// If a dump cannot be read.
    pub fn counts(&mut self, rule_count: usize) -> Vec<Counts> {
        tool::pause(Duration::from_millis(600));
        self.control.call("revalidator/wait", &[]);
        self.control.call("revalidator/purge", &[]);
        self.control.call("revalidator/wait", &[]);
        let dump = self.ofctl(&["dump-flows", &self.bridge()]).expect("the bridge is up");
        let mut counts = vec![Counts::default(); rule_count];
        for line in dump.lines() {
            let number = |name: &str| {
                let text = line.split([' ', ',']).find_map(|word| word.strip_prefix(name))?;
                match text.strip_prefix("0x") {
                    Some(digits) => u64::from_str_radix(digits, 16).ok(),
                    None => text.parse().ok(),
                }
            };
            let Some(cookie) = number("cookie=") else { continue };
            let index = usize::try_from(cookie).expect("an index") - 1;
            let packets = number("n_packets=").expect("a dump has packet counts");
            let bytes = number("n_bytes=").expect("a dump has byte counts");
            counts[index] = Counts { packets, bytes };
        }
        counts
    }

    /// What `ofproto/trace` says of a packet, for the report of a difference.
    pub fn trace(&mut self, port: PortNo, frame: &[u8]) -> String {
        let flow = format!("in_port={}", port.0);
        self.control.call("ofproto/trace", &["br0", &flow, &hex(frame)])
    }
}

impl Ovs {
    /// As `run`, with an empty flow cache for each packet: the slow path decides all of them.
    ///
    /// A cached flow can decide a packet otherwise than the slow path would: a malformed IP packet
    /// has the key of a good one with zero addresses, and takes the flow of whichever came first.
    pub fn run_uncached(&mut self, case: &Case) -> Outcome {
        self.load(case);
        for packet in &case.packets {
            self.send(std::slice::from_ref(packet));
            self.control.call("revalidator/purge", &[]);
        }
        let outputs = self.outputs();
        Outcome { outputs, counts: self.counts(case.rules.len()), flows: None }
    }
}

impl Device for Ovs {
    fn run(&mut self, case: &Case) -> Outcome {
        self.load(case);
        self.send(&case.packets);
        let flows = Some(self.flow_count());
        let outputs = self.outputs();
        Outcome { outputs, counts: self.counts(case.rules.len()), flows }
    }
}

fn name(port: PortNo) -> String {
    format!("p{}", port.0)
}

fn underlay(over: PortNo) -> String {
    format!("under{}", over.0)
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// "RX packets" of a port in the output of `dpctl/show -s`.
fn received(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().skip_while(|line| {
        let mut words = line.split_whitespace();
        words.next() != Some("port") || words.nth(1) != Some(name)
    });
    lines.next()?;
    lines.next()?.trim().strip_prefix("RX packets:")?.split(' ').next()?.parse().ok()
}

fn start_daemons(folder: &Path, daemons: &mut Vec<Child>) -> Control {
    let database = folder.join("conf.db");
    let schema = Path::new("/usr/share/openvswitch/vswitch.ovsschema");
    tool::succeed(tool::command("ovsdb-tool").arg("create").arg(&database).arg(schema));
    let socket = folder.join("db.sock");
    let remote = format!("--remote=punix:{}", socket.display());
    let mut server = daemon(folder, "ovsdb-server");
    daemons.push(spawn(server.arg(remote).arg(&database), folder, "ovsdb-server"));
    Control::connect(&folder.join("ovsdb-server.ctl")).expect("ovsdb-server starts");
    let mut switch = daemon(folder, "ovs-vswitchd");
    switch.args(["--enable-dummy=system", "--disable-system"]);
    daemons.push(spawn(switch.arg(format!("unix:{}", socket.display())), folder, "ovs-vswitchd"));
    Control::connect(&folder.join("ovs-vswitchd.ctl")).expect("ovs-vswitchd starts")
}

fn daemon(folder: &Path, program: &str) -> Command {
    let mut command = tool::command(program);
    for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
        command.env(variable, folder);
    }
    command.arg(format!("--unixctl={}", folder.join(format!("{program}.ctl")).display()));
    command
}

fn spawn(command: &mut Command, folder: &Path, program: &str) -> Child {
    let log = fs::File::create(folder.join(format!("{program}.log"))).expect("a log can be made");
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    spawned.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Makes the bridges and ports.
fn configure(folder: &Path, ports: &PortTable, over: &BTreeSet<PortNo>) {
    let mut words: Vec<String> = vec!["set Open_vSwitch . other_config:vlan-limit=2".into()];
    let secure = "datapath_type=dummy protocols=OpenFlow13 fail-mode=secure";
    words.push(format!("-- --may-exist add-br br0 -- set bridge br0 {secure}"));
    for port in ports.physical() {
        let number = port.number.0;
        let (bridge, request) = if over.contains(&port.number) {
            let bridge = underlay(port.number);
            let tunnel = ports.tunnels().find(|(_, tunnel)| tunnel.over == port.number);
            let mac = mac_text(tunnel.expect("a tunnel is over it").1.local_mac);
            words.push(format!("-- add-br {bridge} -- set bridge {bridge} datapath_type=dummy"));
            words.push(format!("-- set bridge {bridge} other-config:hwaddr=\"{mac}\""));
            (bridge, String::new())
        } else {
            ("br0".to_owned(), format!("ofport_request={number}"))
        };
        let capture = folder.join(format!("p{number}.pcap"));
        words.push(format!(
            "-- add-port {bridge} p{number} -- set interface p{number} type=dummy {request} \
             options:tx_pcap={}",
            capture.display()
        ));
    }
    for (port, tunnel) in ports.tunnels() {
        let number = port.0;
        words.push(format!(
            "-- add-port br0 t{number} -- set interface t{number} ofport_request={number} {}",
            tunnel_options(tunnel)
        ));
    }
    let arguments = words.join(" ");
    let database = format!("--db=unix:{}", folder.join("db.sock").display());
    let mut command = tool::command("ovs-vsctl");
    tool::succeed(command.args([&database, "--timeout=30"]).args(arguments.split_whitespace()));
    for port in over {
        // Without a controller a bridge learns and floods; its one port sees everything.
        let socket = format!("unix:{}", folder.join(format!("{}.mgmt", underlay(*port))).display());
        tool::succeed(tool::command("ovs-ofctl").args(["add-flow", &socket, "actions=normal"]));
    }
}

fn tunnel_options(tunnel: &Tunnel) -> String {
    let kind = match tunnel.kind {
        TunnelKind::Vxlan => "vxlan",
        TunnelKind::Geneve => "geneve",
        TunnelKind::Gtpu => "gtpu",
    };
    let remote = tunnel.remote_ip.map_or_else(|| "flow".to_owned(), |remote| remote.to_string());
    let tos = match tunnel.tos {
        OuterTos::Fixed(tos) => tos.to_string(),
        OuterTos::Inherit => "inherit".to_owned(),
    };
    // Without `local_ip`, which needs a route that only a kernel can give: the source address is
    // that of the bridge below, and only packets for that address are decapsulated.
    format!(
        "type={kind} options:key=flow options:remote_ip={remote} options:tos={tos} options:ttl={}",
        tunnel.ttl
    )
}

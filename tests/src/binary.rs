//! The `twinpath` program as a device under test: captures in, captures and JSON out.

use crate::capture::Follower;
use crate::judge::{Case, Cookies, Device, Outcome, Outputs};
use crate::tool;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use twinpath_flow::counters::Counts;
use twinpath_flow::port::PortNo;

/// Numbers the runners of one test process.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Virtual time between two packets: 1 ms, at which runs are equal frame by frame.
const GAP_NS: u64 = 1_000_000;

/// `twinpath run` with one kind of device.
#[derive(Debug)]
pub struct Twinpath {
    device: &'static str,
    folder: PathBuf,
    /// Packets received by all runs, and those that the card decided alone.
    pub received: u64,
    /// See `received`.
    pub by_card: u64,
}

impl Drop for Twinpath {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Twinpath {
    /// A runner of `device`: `sim`, `none` or `reference`.
    ///
    /// # Panics
    /// If the folder for captures cannot be made.
    #[must_use]
    pub fn new(device: &'static str) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("twinpath-{device}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        Self { device, folder, received: 0, by_card: 0 }
    }

    /// Writes configuration, rules and captures; returns the configuration's path.
    fn prepare(&self, case: &Case) -> PathBuf {
        let file = |name: &str, bytes: &[u8]| {
            fs::write(self.folder.join(name), bytes).expect("the folder is writable");
        };
        file("case.flows", case.rules_text(Cookies::Numbered).as_bytes());
        let mut config = format!(
            "device = \"{}\"\nrules = \"case.flows\"\ncontrol = \"control.sock\"\n",
            self.device
        );
        for port in case.ports.physical() {
            let number = port.number.0;
            file(&format!("in{number}.pcap"), &capture(case, port.number));
            write!(
                config,
                "[[port]]\nnumber = {number}\nname = \"{}\"\n\
                 wire = \"pcap:in=in{number}.pcap,out=out{number}.pcap\"\n",
                port.name
            )
            .expect("writing to a string succeeds");
        }
        file("case.toml", config.as_bytes());
        self.folder.join("case.toml")
    }
}

impl Device for Twinpath {
    fn run(&mut self, case: &Case) -> Outcome {
        assert!(case.ports.tunnels().next().is_none(), "only physical ports are written");
        let config = self.prepare(case);
        let text = tool::succeed(Command::new(program()).args(["run", "--json"]).arg(config));
        let json: Value = serde_json::from_str(&text).expect("--json prints JSON alone");
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}: {text}"));
        self.received += number(&json["packets"]["received"]);
        self.by_card += number(&json["packets"]["card"]);
        let lost = json["packets"]["lost"].as_object().expect("losses by cause");
        assert!(lost.is_empty(), "{}: {lost:?}", case.name);
        let mut counts = vec![Counts::default(); case.rules.len()];
        for rule in json["rules"].as_array().expect("rules are listed") {
            let index = usize::try_from(number(&rule["cookie"])).expect("an index") - 1;
            let (packets, bytes) = (number(&rule["packets"]), number(&rule["bytes"]));
            counts[index] = Counts { packets, bytes };
        }
        let mut outputs = Outputs::new();
        for port in case.ports.physical() {
            let path = self.folder.join(format!("out{}.pcap", port.number.0));
            let frames = Follower::new(path).frames();
            if !frames.is_empty() {
                outputs.insert(port.number, frames);
            }
        }
        let flows = json["flows"]["made"].as_u64().and_then(|made| usize::try_from(made).ok());
        Outcome { outputs, counts, flows }
    }
}

/// The program: `TWINPATH_BIN`, else the one built beside this test.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("TWINPATH_BIN").map(PathBuf::from) {
        assert!(path.is_file(), "TWINPATH_BIN={} is missing", path.display());
        return path;
    }
    let test = std::env::current_exe().expect("a test knows where it is");
    let program = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join("twinpath");
    assert!(program.is_file(), "{} is missing: run cargo build", program.display());
    program
}

/// A classic nanosecond capture of what comes in on one port.
fn capture(case: &Case, port: PortNo) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (index, (_, frame)) in (1..).zip(&case.packets).filter(|(_, (of, _))| *of == port) {
        let time: u64 = index * GAP_NS;
        let length = frame.len() as u64;
        for number in [time / 1_000_000_000, time % 1_000_000_000, length, length] {
            let word = u32::try_from(number).expect("seconds, nanoseconds and lengths are short");
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

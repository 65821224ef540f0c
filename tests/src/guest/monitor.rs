//! QEMU's machine protocol: the device seen from outside, and what only a host can do to it.

use crate::tool;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest answer, or event, waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Looks, 5 ms apart, for QEMU's socket.
const CONNECT_TRIES: u32 = 2_000;
/// Tables of the rocker, all of them (left out, the argument means table 0).
const ALL_TABLES: u32 = u32::MAX;
/// Group types of the rocker, all of them.
const ALL_TYPES: u32 = 9;

/// A connection.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
    events: Vec<Value>,
}

impl Monitor {
    /// Connects and leaves the negotiation behind.
    ///
    /// # Errors
    /// QEMU does not run, or does not speak its protocol.
    pub(super) fn connect(path: &Path) -> Result<Self, String> {
        let stream = tool::wait_for(CONNECT_TRIES, || UnixStream::connect(path).ok());
        let stream = stream.ok_or("QEMU does not run")?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        let mut monitor = Self { stream: BufReader::new(stream), events: Vec::new() };
        monitor.read()?;
        monitor.command("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// QEMU refuses it or does not answer.
    pub fn command(&mut self, name: &str, arguments: Value) -> Result<Value, String> {
        let request = json!({"execute": name, "arguments": arguments}).to_string();
        let sent = self.stream.get_mut().write_all(request.as_bytes());
        sent.map_err(|error| format!("{name}: {error}"))?;
        // Ends: QEMU answers, or the read times out.
        loop {
            let message = self.read()?;
            if let Some(result) = message.get("return") {
                return Ok(result.clone());
            }
            if let Some(error) = message.get("error") {
                return Err(format!("{name}: {}", error["desc"]));
            }
            self.events.push(message);
        }
    }

    /// Waits for an event of that name since the last call for it, and takes it.
    ///
    /// # Errors
    /// It does not come.
    pub fn event(&mut self, name: &str) -> Result<Value, String> {
        // Ends: the event comes, or the read times out.
        loop {
            if let Some(at) = self.events.iter().position(|event| event["event"] == name) {
                return Ok(self.events.remove(at));
            }
            let message = self.read()?;
            self.events.push(message);
        }
    }

    /// Flows in the rocker's tables, with `cookie`, `hits`, `key`, `mask` and `action`.
    ///
    /// # Panics
    /// When QEMU does not answer.
    pub fn rocker_flows(&mut self) -> Vec<Value> {
        let arguments = json!({"name": "sw1", "tbl-id": ALL_TABLES});
        let flows = self.command("query-rocker-of-dpa-flows", arguments).expect("the rocker sw1");
        flows.as_array().expect("a list of flows").clone()
    }

    /// Groups of the rocker.
    ///
    /// # Panics
    /// When QEMU does not answer.
    pub fn rocker_groups(&mut self) -> Vec<Value> {
        let arguments = json!({"name": "sw1", "type": ALL_TYPES});
        let groups = self.command("query-rocker-of-dpa-groups", arguments).expect("the rocker sw1");
        groups.as_array().expect("a list of groups").clone()
    }

    /// Packets that flows of one of the rocker's tables have matched.
    pub fn rocker_hits(&mut self, table: u64) -> u64 {
        let flows = self.rocker_flows();
        let of_table = flows.iter().filter(|flow| flow["key"]["tbl-id"] == table);
        of_table.filter_map(|flow| flow["hits"].as_u64()).sum()
    }

    /// Plugs or pulls the cable of a port, from 1.
    ///
    /// # Panics
    /// When QEMU refuses.
    pub fn plug(&mut self, port: usize, state: Cable) {
        let arguments = json!({"name": format!("wire{port}"), "up": state == Cable::In});
        self.command("set_link", arguments).expect("the wire exists");
    }

    fn read(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err("QEMU has ended".into()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| format!("{error}: {line}")),
            Err(error) => Err(format!("QEMU's monitor is silent: {error}")),
        }
    }
}

/// State of a port's cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// Plugged in.
    In,
    /// Pulled.
    Out,
}

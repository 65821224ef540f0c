//! The control socket of an Open vSwitch daemon: JSON-RPC, as `ovs-appctl` speaks it.

use crate::tool;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection.
#[derive(Debug)]
pub(super) struct Control {
    stream: UnixStream,
    /// The last packet given to a port: where to look when the daemon dies.
    packet: String,
}

impl Control {
    /// Connects; the daemon may still be starting.
    pub(super) fn connect(path: &Path) -> Option<Self> {
        let stream = tool::wait_for(2000, || UnixStream::connect(path).ok())?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout above zero");
        Some(Self { stream, packet: String::new() })
    }

    /// Runs a command; returns what it prints.
    pub(super) fn call(&mut self, method: &str, params: &[&str]) -> String {
        if method == "netdev-dummy/receive" {
            self.packet = params.join(" ");
        }
        let request = json!({"id": 0, "method": method, "params": params}).to_string();
        let written = self.stream.write_all(request.as_bytes());
        assert!(written.is_ok(), "the daemon died; its last packet: {}", self.packet);
        let mut answer = Vec::new();
        let mut part = [0; 65536];
        // Ends: the daemon answers, closes, or the read times out.
        loop {
            let length = self.stream.read(&mut part).unwrap_or_default();
            let packet = &self.packet;
            assert!(length > 0, "no answer to {method} {params:?}; the last packet: {packet}");
            answer.extend_from_slice(&part[..length]);
            let Ok(value) = serde_json::from_slice::<Value>(&answer) else { continue };
            let error = &value["error"];
            assert!(error.is_null(), "{method} {params:?}: {error}");
            return value["result"].as_str().unwrap_or_default().to_owned();
        }
    }
}

//! A `twinpath run` in the guest, on the rocker, with its answers.

use super::Guest;
use serde_json::Value;

/// Folder of its files.
const FOLDER: &str = "/tmp/daemon";

/// A running daemon; the guest ends it with itself, a case with [`Daemon::end`].
#[derive(Debug)]
pub struct Daemon;

impl Daemon {
    /// Starts it with `device` and rules, all ports of the rocker as ports 1, 2, …, and waits
    /// until the card is good.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(guest: &mut Guest, device: &str, rules: &str) -> Self {
        Self::start_with_standby(guest, device, rules, &[])
    }

    /// As [`Daemon::start`], with these standby wires at the first ports.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with_standby(
        guest: &mut Guest,
        device: &str,
        rules: &str,
        standby: &[&str],
    ) -> Self {
        Self::write(guest, &format!("device = \"{device}\"\n"), rules, standby);
        Self::run(guest)
    }

    /// As [`Daemon::start`], with a holder beside it, so that it may be killed; `more` goes into the
    /// configuration, before its tables.
    ///
    /// # Panics
    /// When one of them does not come up.
    pub fn start_held(guest: &mut Guest, device: &str, rules: &str, more: &str) -> Self {
        let head = format!("device = \"{device}\"\nhold = \"hold.sock\"\n{more}");
        Self::write(guest, &head, rules, &[]);
        guest.succeed(&format!(
            "cd {FOLDER}; twinpath hold --socket hold.sock 2>hold.log & echo $! >{FOLDER}/hold.pid; \
             for i in $(seq 500); do [ -S {FOLDER}/hold.sock ] && exit; usleep 20000; done; false"
        ));
        Self::run(guest)
    }

    fn write(guest: &mut Guest, head: &str, rules: &str, standby: &[&str]) {
        let mut config = format!("{head}rules = \"rules\"\n");
        for port in 1..=super::PORTS {
            config.push_str(&format!("[[port]]\nnumber = {port}\nwire = \"tap:unused{port}\"\n"));
            if let Some(standby) = standby.get(port - 1) {
                config.push_str(&format!("standby = \"{standby}\"\n"));
            }
        }
        guest.succeed(&format!(
            "mkdir -p {FOLDER} && cd {FOLDER} && rm -f run.state && \
             cat >run.toml <<'END'\n{config}END\ncat >rules <<'END'\n{rules}\nEND"
        ));
    }

    /// Starts it with the files that are there.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn run(guest: &mut Guest) -> Self {
        guest.succeed(&format!(
            "cd {FOLDER} && rm -f code && \
             (twinpath run run.toml --json >summary 2>log & echo $! >pid; wait $!; echo $? >code) &"
        ));
        let daemon = Self;
        daemon.wait(guest, "twinpath stats --json 2>/dev/null | grep -q '\"health\": *\"good\"'");
        daemon
    }

    /// Ends it with SIGKILL, and waits until it is gone.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill(&self, guest: &mut Guest) {
        guest.succeed(&format!(
            "cd {FOLDER}; kill -KILL $(cat pid); while [ ! -e code ]; do usleep 1000; done"
        ));
    }

    /// Ends the holder: what it held is closed.
    ///
    /// # Panics
    /// When there is none.
    pub fn end_holder(guest: &mut Guest) {
        guest.succeed(&format!(
            "cd {FOLDER}; kill $(cat hold.pid); while [ -S hold.sock ]; do usleep 1000; done"
        ));
    }

    /// Waits until a shell condition holds, looking fifty times a second for ten seconds.
    ///
    /// # Panics
    /// When it does not, with the daemon's log.
    pub fn wait(&self, guest: &mut Guest, condition: &str) {
        guest.succeed(&format!(
            "for i in $(seq 500); do {{ {condition}; }} && exit; [ -e {FOLDER}/code ] && break; \
             usleep 20000; done; tail -n 20 {FOLDER}/log; twinpath stats; twinpath events; false"
        ));
    }

    /// The answer of a command with `--json`.
    ///
    /// # Panics
    /// When it fails.
    pub fn ask(&self, guest: &mut Guest, command: &str) -> Value {
        let printed = guest.succeed(&format!("twinpath {command} --json"));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Packets that came to software so far.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn software_packets(&self, guest: &mut Guest) -> u64 {
        let statistics = self.ask(guest, "stats");
        statistics["packets"]["software"].as_u64().expect("a number")
    }

    /// Ends it as an operator does; its summary.
    ///
    /// # Panics
    /// When it does not end well within ten seconds.
    pub fn end(self, guest: &mut Guest) -> Value {
        guest.succeed(&format!("kill -INT $(cat {FOLDER}/pid)"));
        let printed = guest.succeed(&format!(
            "cd {FOLDER}; for i in $(seq 500); do [ -e code ] && break; usleep 20000; done; \
             [ \"$(cat code)\" = 0 ] && cat summary || {{ cat log; false; }}"
        ));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }
}

//! A run that goes on until it is told to end, in a folder of its own.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A process of `twinpath run`; killed, and its folder removed, when dropped.
pub(crate) struct Running {
    pub(crate) folder: PathBuf,
    child: Child,
}

impl Running {
    /// Starts it with these files (name and text) and this configuration, whose control socket is
    /// `c.sock`, and waits until it answers.
    pub(crate) fn start(name: &str, config: &str, files: &[(&str, &str)]) -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("twinpath-{name}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        fs::write(folder.join("c.toml"), format!("control = \"c.sock\"\n{config}")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_twinpath"))
            .args(["run", "--json", "c.toml"])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { folder, child };
        running.wait_until("up", || running.ask(&["stats"]).status.success());
        running
    }

    /// Looks again until `done`, at most about thirty seconds.
    pub(crate) fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..1500 {
            if done() {
                return;
            }
            let _ = Command::new("sleep").arg("0.02").status();
        }
        panic!("{what}: not within thirty seconds");
    }

    /// A command of `twinpath` that asks this run, in its folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
        command.args(arguments).args(["--socket", "c.sock"]).current_dir(&self.folder);
        command
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[arguments, &["--json"]].concat())).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Ends the run and returns its summary.
    pub(crate) fn end(mut self) -> Value {
        // Twice, as `timeout` does.
        self.signal("-TERM");
        self.signal("-TERM");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.child.stdout.take().unwrap(), &mut text).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

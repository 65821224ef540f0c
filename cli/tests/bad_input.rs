//! Bad input by process: one clear line with the place on standard error, the right exit code, and
//! nothing half-done.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("twinpath-bad-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.write("rules.flows", b"in_port=1,actions=output:2\nin_port=2,actions=output:1\n");
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A configuration of two ports with these wires.
    fn config(&self, wires: [&str; 2]) -> PathBuf {
        let [first, second] = wires;
        let control = self.0.join("control.sock");
        let text = format!(
            "device = \"none\"\nrules = \"rules.flows\"\ncontrol = \"{}\"\n\
             [[port]]\nnumber = 1\nwire = \"{first}\"\n[[port]]\nnumber = 2\nwire = \"{second}\"\n",
            control.display()
        );
        self.write("c.toml", text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn twinpath() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
    command.env_remove("TWINPATH_LOG").stdin(Stdio::null());
    command
}

fn run(config: &Path) -> Output {
    twinpath().arg("run").arg(config).output().unwrap()
}

/// Asserts exit code and that standard error is one line with `parts` in it; returns the line.
fn assert_complaint(output: &Output, code: i32, parts: &[&str]) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    assert!(line.starts_with("twinpath: "), "{line}");
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    line
}

/// A classic little-endian capture with one frame of 60 bytes.
fn capture() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1, 0, 0, 60, 60] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([0xff; 6]);
    bytes.extend([2; 54]);
    bytes
}

#[test]
fn a_missing_configuration_is_named() {
    assert_complaint(&run(Path::new("/nowhere/c.toml")), 2, &["/nowhere/c.toml: cannot read: "]);
}

#[test]
fn a_typo_in_the_configuration_is_answered_with_the_word_meant() {
    let folder = Folder::new("typo");
    let config = folder.config(["null", "null"]);
    let text = fs::read_to_string(&config).unwrap().replacen("wire", "wrie", 1);
    fs::write(&config, text).unwrap();
    assert_complaint(&run(&config), 2, &["c.toml:6:1: unknown key \"wrie\"", "mean \"wire\"?"]);
}

#[test]
fn duplicate_port_numbers_are_placed_at_the_second() {
    let folder = Folder::new("duplicate");
    let config = folder.config(["null", "null"]);
    let text = fs::read_to_string(&config).unwrap().replace("number = 2", "number = 1");
    fs::write(&config, text).unwrap();
    assert_complaint(&run(&config), 2, &["c.toml:8:10: port number 1 is used twice"]);
}

#[test]
fn an_unknown_field_in_the_rules_is_placed_and_nothing_is_created() {
    let folder = Folder::new("field");
    let config = folder.config(["null", "pcap:out=out.pcap"]);
    folder.write("rules.flows", b"in_port=1,actions=output:2\nnw_sorc=10.0.0.1,actions=drop\n");
    assert_complaint(&run(&config), 2, &["rules.flows:2:1: unknown field \"nw_sorc\""]);
    assert!(!folder.0.join("out.pcap").exists(), "nothing half-done");
    assert!(!folder.0.join("control.sock").exists(), "nothing half-done");
}

#[test]
fn a_rule_that_needs_an_absent_port_is_refused_with_its_place() {
    let folder = Folder::new("absent");
    let config = folder.config(["null", "pcap:out=out.pcap"]);
    folder.write("rules.flows", b"\nin_port=1,actions=output:7\n");
    assert_complaint(&run(&config), 2, &["rules.flows:2:", "7"]);
    assert!(!folder.0.join("out.pcap").exists(), "nothing half-done");
}

#[test]
fn captures_that_would_destroy_each_other_are_refused_however_they_are_written() {
    let folder = Folder::new("destroy");
    let input = folder.write("in.pcap", &capture());
    std::os::unix::fs::symlink(&input, folder.0.join("link.pcap")).unwrap();
    for (wires, parts) in [
        (
            ["pcap:out=a.pcap", "pcap:out=./a.pcap"],
            ["c.toml:9:8: ", "already used by the wire of port 1"],
        ),
        (
            ["pcap:in=in.pcap", "pcap:out=link.pcap"],
            ["c.toml:6:8: ", "written by the wire of port 2"],
        ),
        (
            ["pcap:in=in.pcap,out=./in.pcap", "null"],
            ["c.toml:6:8: ", "written by the wire of port 1"],
        ),
    ] {
        assert_complaint(&run(&folder.config(wires)), 2, &parts);
        assert_eq!(fs::read(&input).unwrap(), capture());
        assert!(!folder.0.join("a.pcap").exists(), "nothing half-done");
    }
}

#[test]
fn a_missing_rule_file_and_a_missing_capture_are_named_before_anything_is_created() {
    let folder = Folder::new("missing");
    let config = folder.config(["pcap:in=in.pcap", "pcap:out=out.pcap"]);
    assert_complaint(&run(&config), 2, &["c.toml:6:8: ", "in.pcap: "]);
    assert!(!folder.0.join("out.pcap").exists(), "nothing half-done");
    folder.write("in.pcap", &capture());
    fs::remove_file(folder.0.join("rules.flows")).unwrap();
    assert_complaint(&run(&config), 2, &["c.toml:2:9: ", "rules.flows"]);
    assert!(!folder.0.join("out.pcap").exists(), "nothing half-done");
}

#[test]
fn a_truncated_capture_is_told_with_its_place_before_anything_is_created() {
    let folder = Folder::new("truncated");
    let config = folder.config(["pcap:in=in.pcap", "pcap:out=out.pcap"]);
    let whole = capture();
    folder.write("in.pcap", &whole[..whole.len() - 7]);
    assert_complaint(&run(&config), 2, &["c.toml:6:8: ", "in.pcap: ", "24"]);
    assert!(!folder.0.join("out.pcap").exists(), "nothing half-done");
}

#[test]
fn a_full_disk_under_the_capture_is_a_failure_of_the_run() {
    let folder = Folder::new("full");
    let config = folder.config(["pcap:in=in.pcap", "pcap:out=/dev/full"]);
    folder.write("in.pcap", &capture());
    let output = run(&config);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("/dev/full: cannot write: "), "{line}");
}

#[test]
fn a_second_instance_on_one_socket_is_refused_and_leaves_the_first_alone() {
    let folder = Folder::new("second");
    let config = folder.config(["gen:rate=10", "null"]);
    let text = fs::read_to_string(&config).unwrap().replace("gen:rate=10", "tap:twinbad0");
    // Without the right to make a TAP a generator that never ends keeps the first one running.
    let text = if is_root() { text } else { text.replace("tap:twinbad0", "gen:rate=1") };
    fs::write(&config, text).unwrap();
    let mut first = twinpath().arg("run").arg(&config).stdout(Stdio::null()).spawn().unwrap();
    let socket = folder.0.join("control.sock");
    wait_for(&socket);
    assert_complaint(&run(&config), 1, &["control.sock: another instance is running"]);
    assert!(socket.exists(), "the first one's socket stays");
    let stats = twinpath().args(["stats", "--json", "--socket"]).arg(&socket).output().unwrap();
    assert!(stats.status.success(), "{stats:?}");
    interrupt(&first);
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert!(!socket.exists(), "a clean end removes the socket");
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_success_and_a_full_standard_output_is_not() {
    let folder = Folder::new("stdout");
    let config = folder.config(["gen:count=10", "null"]);
    let mut child = twinpath()
        .arg("run")
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = twinpath().arg("run").arg(&config).stdout(full).output().unwrap();
    assert_complaint(&output, 1, &["standard output: cannot write: "]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["rnu"][..], &["run"], &["run", "c.toml", "--duration", "soon"]] {
        let output = twinpath().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn no_running_process_is_said() {
    let folder = Folder::new("nobody");
    let output = twinpath().arg("stats").env("XDG_RUNTIME_DIR", &folder.0).output().unwrap();
    assert_complaint(&output, 1, &["no running twinpath found in", "--socket"]);
    let left_behind = folder.0.join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left_behind).unwrap());
    for socket in [Path::new("/nowhere/x.sock"), &left_behind] {
        let output = twinpath().args(["stats", "--socket"]).arg(socket).output().unwrap();
        assert_complaint(&output, 1, &[socket.to_str().unwrap(), "nobody answers", "control"]);
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn interrupt(child: &std::process::Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until somebody answers on `socket`, at most about ten seconds.
fn wait_for(socket: &Path) {
    for _ in 0..1000 {
        if let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) {
            // The empty line is refused, which shows that requests are answered.
            let _ = stream.write_all(b"\n");
            return;
        }
        let _ = Command::new("sleep").arg("0.01").status();
    }
    panic!("{} did not come up", socket.display());
}

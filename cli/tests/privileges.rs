//! Whom a run is and whom it obeys, by process: as root, with another user to become.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Users by number: nobody of them need be in the system's files.
const DAEMON: &str = "64001";
const MEMBER: &str = "64002";
const STRANGER: &str = "64003";
const GROUP: &str = "64010";

const BINARY: &str = env!("CARGO_BIN_EXE_twinpath");

struct Running {
    folder: PathBuf,
    child: Child,
}

impl Running {
    fn start(name: &str, config: &str, arguments: &[&str]) -> Self {
        let folder =
            std::env::temp_dir().join(format!("twinpath-user-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let ports = "control = \"c.sock\"\n[[port]]\nnumber = 1\nwire = \"gen:flows=10,rate=10k\"\n\
                     [[port]]\nnumber = 2\n";
        fs::write(folder.join("c.toml"), format!("{config}\n{ports}")).unwrap();
        // Others than root must reach the program.
        let program = folder.join("twinpath");
        fs::copy(BINARY, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(BINARY)
            .arg("run")
            .args(arguments)
            .arg(folder.join("c.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { folder, child };
        for _ in 0..500 {
            if running.ask("0", "0", &["stats"]).status.success() {
                return running;
            }
            let _ = Command::new("sleep").arg("0.02").status();
        }
        panic!("not up within ten seconds");
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("c.sock")
    }

    /// Asks as that user and group.
    fn ask(&self, user: &str, group: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("setpriv");
        command.args(["--clear-groups", "--reuid", user, "--regid", group]);
        command.arg(self.folder.join("twinpath")).args(arguments);
        command.arg("--socket").arg(self.socket()).output().unwrap()
    }

    /// A line of `/proc/PID/TASK/status` of every thread: all the same.
    fn status(&self, key: &str) -> String {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut found: Vec<String> = fs::read_dir(tasks)
            .unwrap()
            .map(|task| {
                let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
                let line = text.lines().find(|line| line.starts_with(key)).unwrap();
                line[key.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        found.dedup();
        assert_eq!(found.len(), 1, "{key} {found:?}");
        found.remove(0)
    }

    fn received(&self) -> u64 {
        let output = self.ask("0", "0", &["stats", "--json"]);
        let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
        stats["packets"]["received"].as_u64().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Only root can become others; who is not cannot try this.
fn is_root() -> bool {
    let is = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is {
        eprintln!("skipped: needs root");
    }
    is
}

fn refused(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stderr);
    !output.status.success() && text.contains("may look but not change")
}

#[test]
fn a_run_becomes_its_user_and_goes_on() {
    if !is_root() {
        return;
    }
    for device in ["sim", "none", "reference"] {
        let config = format!("device = \"{device}\"\nworkers = 2");
        let run = Running::start(device, &config, &["--user", DAEMON]);
        assert_eq!(run.status("Uid:"), [DAEMON; 4].join(" "));
        assert_eq!(run.status("Gid:"), [DAEMON; 4].join(" "));
        assert_eq!(run.status("Groups:"), "");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(run.status(set), "0000000000000000", "{set}");
        }
        assert_eq!(run.status("NoNewPrivs:"), "1");
        let before = run.received();
        let mut after = before;
        for _ in 0..500 {
            if after > before {
                break;
            }
            after = run.received();
        }
        assert!(after > before, "traffic goes on");
        assert_eq!(fs::metadata(run.socket()).unwrap().uid().to_string(), DAEMON);
        let added = run.ask(DAEMON, DAEMON, &["rules", "add", "priority=1,actions=drop"]);
        assert!(added.status.success(), "{added:?}");
    }
}

#[test]
fn a_run_with_standby_wires_keeps_what_opens_them_and_no_more() {
    if !is_root() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("twinpath-standby-{}.toml", std::process::id()));
    let config = "device = \"none\"\nuser = \"64001\"\n[[port]]\nnumber = 1\nwire = \"gen:rate=10k\"\n\
                  standby = \"null\"\n[[port]]\nnumber = 2\n";
    fs::write(&folder, config).unwrap();
    let mut child = Command::new(BINARY)
        .args(["run", "--duration", "20s"])
        .arg(&folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    // CAP_NET_ADMIN 12, CAP_NET_RAW 13, CAP_IPC_LOCK 14, CAP_BPF 39.
    let wanted = "CapPrm:\t0000008000007000";
    let mut seen = String::new();
    for _ in 0..500 {
        seen = fs::read_to_string(&status).unwrap();
        if seen.lines().any(|line| line == wanted) {
            break;
        }
        let _ = Command::new("sleep").arg("0.02").status();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(folder).unwrap();
    assert!(seen.lines().any(|line| line == wanted), "{seen}");
}

#[test]
fn members_of_the_group_change_things_onlookers_look_and_others_stay_out() {
    if !is_root() {
        return;
    }
    let config = format!("device = \"none\"\nuser = \"{DAEMON}\"\ncontrol_group = \"{GROUP}\"");
    let run = Running::start("group", &config, &[]);
    let mode = fs::metadata(run.socket()).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o660);
    let add = ["rules", "add", "priority=2,actions=drop"];
    assert!(run.ask(MEMBER, GROUP, &add).status.success());
    let outside = run.ask(STRANGER, STRANGER, &["stats"]);
    let text = String::from_utf8_lossy(&outside.stderr);
    assert!(!outside.status.success() && text.contains("Permission denied"), "{text}");

    let config = format!("{config}\ncontrol_mode = \"0666\"");
    let run = Running::start("onlooker", &config, &[]);
    assert!(run.ask(MEMBER, GROUP, &add).status.success());
    assert!(run.ask(STRANGER, STRANGER, &["stats"]).status.success());
    assert!(refused(&run.ask(STRANGER, STRANGER, &add)));
    assert!(refused(&run.ask(STRANGER, STRANGER, &["rules", "del", "ip"])));
    let dump = run.ask(STRANGER, STRANGER, &["rules", "dump"]);
    assert_eq!(String::from_utf8_lossy(&dump.stdout), "priority=2 actions=drop\n");
}

#[test]
fn who_is_not_root_becomes_nobody_else_and_is_told() {
    if !is_root() {
        return;
    }
    let run = Running::start("other", "device = \"none\"", &[]);
    let config = run.folder.join("own.toml");
    let text =
        "device = \"none\"\nuser = \"64001\"\n[[port]]\nnumber = 1\nwire = \"gen:count=5\"\n";
    fs::write(&config, text).unwrap();
    let start = |user: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--clear-groups", "--reuid", user, "--regid", user]);
        command.arg(run.folder.join("twinpath")).arg("run").arg(&config);
        command.env("XDG_RUNTIME_DIR", "/nonexistent").output().unwrap()
    };
    let other = start(STRANGER);
    let text = String::from_utf8_lossy(&other.stderr);
    assert!(!other.status.success() && text.contains("only root can become user 64001"), "{text}");
    let own = start(DAEMON);
    assert!(own.status.success(), "{own:?}");
}

#[test]
fn unknown_users_groups_and_modes_are_refused_with_their_place() {
    let folder = std::env::temp_dir().join(format!("twinpath-nouser-{}.toml", std::process::id()));
    for (line, wanted) in [
        ("user = \"no such user\"", "1:8: user \"no such user\" is not a user of /etc/passwd"),
        ("control_group = \"no such\"", "1:17: control_group \"no such\" is not a group"),
        ("control_mode = \"0999\"", "1:16: control_mode \"0999\" is not a file mode"),
        ("control_mode = \"0066\"", "1:16: control_mode \"0066\" is not a file mode"),
    ] {
        fs::write(&folder, format!("{line}\ndevice = \"none\"\n[[port]]\nnumber = 1\n")).unwrap();
        let output = Command::new(BINARY).arg("run").arg(&folder).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(wanted), "{text}");
        assert_eq!(output.status.code(), Some(2));
    }
    fs::remove_file(folder).unwrap();
}

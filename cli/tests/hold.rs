//! The process that holds descriptors while daemons come and go.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use twinpath_cli::hold::message::Name;
use twinpath_cli::hold::store::{Place, Store, StoreError};

/// A holder in a folder of its own, ended with it.
struct Holder {
    folder: PathBuf,
    child: Child,
}

fn start(socket: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
    command.args(["hold", "--socket"]).arg(socket).stderr(Stdio::piped()).spawn().unwrap()
}

impl Holder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("twinpath-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let child = start(&folder.join("hold.sock"));
        let holder = Self { folder, child };
        for _ in 0..500 {
            if holder.socket().exists() {
                break;
            }
            let _ = Command::new("sleep").arg("0.01").status();
        }
        holder
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("hold.sock")
    }

    fn open(&self) -> Store {
        Store::open(Place::Holder(self.socket())).unwrap()
    }

    /// A descriptor of a file with some text.
    fn file(&self, text: &str) -> OwnedFd {
        let path = self.folder.join(text);
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        File::open(path).unwrap().into()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What is held: names and texts.
fn held(store: &mut Store) -> Vec<(String, String)> {
    let text = |(name, descriptor): (Name, OwnedFd)| {
        let (mut file, mut text) = (File::from(descriptor), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        (name.to_string(), text)
    };
    store.take().unwrap().into_iter().map(text).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn descriptors_outlive_the_daemon_that_gave_them() {
    let holder = Holder::new("hold-life");
    let store = holder.open();
    for (known, text) in [("1.arena", "old"), ("1.socket", "second"), ("1.arena", "first")] {
        store.keep(&name(known), holder.file(text).as_fd()).unwrap();
    }
    // All that a killed process leaves behind is a closed connection.
    drop(store);
    let mut store = holder.open();
    assert_eq!(held(&mut store), pairs(&[("1.arena", "first"), ("1.socket", "second")]));
    store.remove(&name("1.arena")).unwrap();
    store.remove(&name("never")).unwrap();
    assert_eq!(held(&mut holder.open()), pairs(&[("1.socket", "second")]));
}

#[test]
fn as_many_as_a_card_of_64_ports_has_are_held() {
    let holder = Holder::new("hold-many");
    let store = holder.open();
    let descriptor = holder.file("bell");
    for number in 0..200 {
        store.keep(&name(&format!("x.bell{number}")), descriptor.as_fd()).unwrap();
    }
    assert_eq!(holder.open().take().unwrap().len(), 200);
}

#[test]
fn a_second_holder_does_not_take_the_socket_of_the_first() {
    let holder = Holder::new("hold-second");
    let output = start(&holder.socket()).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("another instance is running"), "{told}");
    assert!(held(&mut holder.open()).is_empty());
}

#[test]
fn without_a_holder_the_daemon_says_how_to_start_one() {
    let path = PathBuf::from("/nonexistent/hold.sock");
    let error = Store::open(Place::Holder(path)).unwrap_err();
    assert!(matches!(error, StoreError::NoHolder { .. }));
    assert!(error.to_string().contains("twinpath hold --socket /nonexistent/hold.sock"));
}

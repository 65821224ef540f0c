//! `twinpath devices`, `bind` and `unbind` by process, on made-up trees of the kernel's files.

#![expect(clippy::unwrap_used, reason = "a test harness may panic")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const FUNCTION: &str = "0000:03:00.0";

/// A tree with one function that `e1000e` drives in group 7, removed at the end.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let name = format!("twinpath-functions-{name}-{}", std::process::id());
        let tree = Self(std::env::temp_dir().join(name));
        let _ = fs::remove_dir_all(&tree.0);
        let function = format!("sys/bus/pci/devices/{FUNCTION}");
        for (name, text) in [
            (format!("{function}/class"), "0x020000\n"),
            (format!("{function}/vendor"), "0x8086\n"),
            (format!("{function}/device"), "0x10d3\n"),
            (format!("{function}/driver_override"), "(null)\n"),
            (format!("{function}/net/eth0/x"), ""),
            ("sys/class/net/eth0/flags".to_owned(), "0x1003\n"),
            ("sys/bus/pci/drivers/vfio-pci/bind".to_owned(), ""),
            ("sys/module/vfio_iommu_type1/x".to_owned(), ""),
            (format!("sys/kernel/iommu_groups/7/devices/{FUNCTION}"), ""),
        ] {
            tree.file(&name, text);
        }
        symlink("x/iommu_groups/7", tree.0.join(&function).join("iommu_group")).unwrap();
        symlink("x/drivers/e1000e", tree.0.join(&function).join("driver")).unwrap();
        tree
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
        command.args(arguments).arg("--sysfs").arg(&self.0);
        command.env_remove("TWINPATH_LOG").stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn devices_tell_who_has_a_function_and_what_mends_it() {
    let tree = Tree::new("text");
    let output = tree.run(&["devices"]);
    assert!(output.status.success());
    assert_eq!(
        text(&output.stdout),
        " function      device     driver  group  vfio  interfaces\n \
         0000:03:00.0  8086:10d3  e1000e      7  no    eth0 up\n\n\
         0000:03:00.0\n  \
         bound to e1000e: twinpath bind 0000:03:00.0\n"
    );
}

#[test]
fn devices_as_json_carry_the_same_facts() {
    let tree = Tree::new("json");
    let output = tree.run(&["devices", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let function = &value["functions"][0];
    assert_eq!(function["address"], FUNCTION);
    assert_eq!(function["driver"], "e1000e");
    assert_eq!(function["iommu_group"], 7);
    assert_eq!(function["ready"], false);
    assert_eq!(function["msix_vectors"], Value::Null);
    assert_eq!(function["obstacles"][0]["remedy"], "twinpath bind 0000:03:00.0");
    assert_eq!(function["interfaces"][0]["up"], true);
}

#[test]
fn a_system_without_pci_is_one_line() {
    let tree = Tree::new("none");
    fs::remove_dir_all(tree.0.join("sys")).unwrap();
    let output = tree.run(&["devices"]);
    assert_eq!(output.status.code(), Some(1));
    let line = text(&output.stderr);
    assert!(line.contains("sys/bus/pci/devices: No such file"), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn bind_refuses_an_interface_that_is_up_in_one_line() {
    let tree = Tree::new("up");
    let output = tree.run(&["bind", "03:00.0"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "twinpath: 0000:03:00.0: its interface eth0 is up; \
         ip link set eth0 down, or twinpath bind --force 0000:03:00.0\n"
    );
}

#[test]
fn unbind_refuses_what_is_not_bound_to_vfio() {
    let tree = Tree::new("unbind");
    let output = tree.run(&["unbind", FUNCTION]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "twinpath: 0000:03:00.0: not bound to vfio-pci but to e1000e\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn an_address_that_is_none_is_a_fault_of_usage() {
    let output = Tree::new("usage").run(&["bind", "eth0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("\"eth0\" is no pci address"));
}

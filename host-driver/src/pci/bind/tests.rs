//! Made-up trees of the kernel's files, with a made-up kernel that moves the driver's link.

use super::*;
use crate::pci::testing::Tree;

const ADDRESS: &str = "0000:03:00.0";
const FOLDER: &str = "sys/bus/pci/devices/0000:03:00.0";
const REMEMBERED: &str = "run/twinpath/former-driver/0000:03:00.0";

fn address() -> Address {
    ADDRESS.parse().unwrap()
}

/// A function that `e1000e` drives.
fn tree() -> Tree {
    let tree = Tree::new();
    tree.function(ADDRESS, "0x020000");
    tree.group(7, &[ADDRESS]);
    tree.bind(ADDRESS, "e1000e");
    tree.file(&format!("{FOLDER}/native"), "e1000e");
    tree
}

fn driver(tree: &Tree) -> Option<String> {
    target(&tree.path(&format!("{FOLDER}/driver")))
}

fn bound(former: Option<&str>, now: Option<&str>) -> Bound {
    Bound { former: former.map(str::to_owned), now: now.map(str::to_owned) }
}

#[test]
fn a_bound_function_goes_back_to_the_driver_it_had() {
    let tree = tree();
    // The kernel by itself would choose another.
    tree.driver("igb");
    tree.file(&format!("{FOLDER}/native"), "igb");
    let sysfs = tree.sysfs();
    let done = sysfs.bind(address(), InUse::Refuse).unwrap();
    assert_eq!(done, bound(Some("e1000e"), Some("vfio-pci")));
    assert_eq!(tree.text(REMEMBERED), "e1000e");
    let again = sysfs.bind(address(), InUse::Refuse).unwrap();
    assert_eq!(again, bound(Some("e1000e"), Some("vfio-pci")));
    let undone = sysfs.unbind(address()).unwrap();
    assert_eq!(undone, bound(Some("vfio-pci"), Some("e1000e")));
    assert_eq!(tree.text(&format!("{FOLDER}/driver_override")), "\n");
    assert!(!tree.path(REMEMBERED).exists());
}

#[test]
fn without_memory_the_kernel_chooses_the_driver() {
    let tree = tree();
    tree.sysfs().bind(address(), InUse::Refuse).unwrap();
    tree.remove(REMEMBERED);
    assert_eq!(tree.sysfs().unbind(address()).unwrap().now.as_deref(), Some("e1000e"));
}

#[test]
fn a_function_without_driver_has_none_again() {
    let tree = tree();
    tree.remove(&format!("{FOLDER}/driver"));
    tree.remove(&format!("{FOLDER}/native"));
    let done = tree.sysfs().bind(address(), InUse::Refuse).unwrap();
    assert_eq!(done, bound(None, Some("vfio-pci")));
    assert_eq!(tree.sysfs().unbind(address()).unwrap(), bound(Some("vfio-pci"), None));
}

#[test]
fn an_interface_in_use_is_not_taken_unless_forced() {
    let tree = tree();
    tree.interface(ADDRESS, "eth0", "0x1003");
    let error = tree.sysfs().bind(address(), InUse::Refuse).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000:03:00.0: its interface eth0 is up; \
         ip link set eth0 down, or twinpath bind --force 0000:03:00.0"
    );
    assert_eq!(driver(&tree).as_deref(), Some("e1000e"));
    tree.file("proc/net/route", "eth0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n");
    let error = tree.sysfs().bind(address(), InUse::Refuse).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000:03:00.0: its interface eth0 carries the default route; \
         if you reach this machine another way: twinpath bind --force 0000:03:00.0"
    );
    assert_eq!(tree.text(&format!("{FOLDER}/driver_override")), "(null)\n");
    tree.sysfs().bind(address(), InUse::Take).unwrap();
    assert_eq!(driver(&tree).as_deref(), Some("vfio-pci"));
}

#[test]
fn a_function_that_vfio_refuses_gets_its_driver_back() {
    let tree = tree();
    tree.file("sys/bus/pci/drivers/vfio-pci/refuses", "");
    let error = tree.sysfs().bind(address(), InUse::Refuse).unwrap_err();
    assert!(
        matches!(&error, BindError::NotTaken { driver, .. } if driver == "vfio-pci"),
        "{error}"
    );
    assert_eq!(driver(&tree).as_deref(), Some("e1000e"));
    assert_eq!(tree.text(&format!("{FOLDER}/driver_override")), "\n");
    assert!(!tree.path(REMEMBERED).exists());
}

#[test]
fn a_former_driver_that_no_longer_takes_it_is_told() {
    let tree = tree();
    tree.sysfs().bind(address(), InUse::Refuse).unwrap();
    tree.file("sys/bus/pci/drivers/e1000e/refuses", "");
    let error = tree.sysfs().unbind(address()).unwrap_err();
    assert!(matches!(error, BindError::Lost { .. }), "{error}");
}

#[test]
fn what_binding_cannot_mend_is_told_before_anything_is_touched() {
    let tree = tree();
    tree.remove("sys/bus/pci/drivers/vfio-pci");
    let list = "lib/modules/6.1.0-56-cloud-amd64/modules.dep";
    tree.file(list, "kernel/drivers/vfio/pci/vfio-pci.ko:\n");
    let error = tree.sysfs().bind(address(), InUse::Refuse).unwrap_err();
    assert_eq!(error.to_string(), "0000:03:00.0: vfio-pci is not loaded; modprobe vfio-pci");
    tree.remove(&format!("{FOLDER}/iommu_group"));
    tree.remove("sys/kernel/iommu_groups/7");
    let error = tree.sysfs().bind(address(), InUse::Refuse).unwrap_err();
    assert!(error.to_string().starts_with("0000:03:00.0: no iommu; "), "{error}");
    let absent = tree.sysfs().bind("0000:09:00.0".parse().unwrap(), InUse::Refuse).unwrap_err();
    assert!(absent.to_string().starts_with("0000:09:00.0: no such function; "), "{absent}");
    assert_eq!(driver(&tree).as_deref(), Some("e1000e"));
}

#[test]
fn only_functions_of_vfio_are_unbound() {
    let tree = tree();
    let error = tree.sysfs().unbind(address()).unwrap_err();
    assert_eq!(error.to_string(), "0000:03:00.0: not bound to vfio-pci but to e1000e");
}

#[test]
fn a_function_that_a_process_holds_is_not_unbound() {
    let tree = tree();
    tree.sysfs().bind(address(), InUse::Refuse).unwrap();
    tree.link("proc/4711/fd/9", "/dev/vfio/7");
    let error = tree.sysfs().unbind(address()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000:03:00.0: process 4711 has it open; end it first: kill 4711"
    );
    assert_eq!(driver(&tree).as_deref(), Some("vfio-pci"));
}

#[test]
fn an_attribute_that_cannot_be_written_is_named() {
    let tree = tree();
    tree.remove(&format!("{FOLDER}/driver_override"));
    let error = tree.sysfs().bind(address(), InUse::Refuse).unwrap_err();
    assert!(matches!(&error, BindError::Write { path, .. } if path.ends_with("driver_override")));
    assert_eq!(driver(&tree).as_deref(), Some("e1000e"));
    let denied = BindError::Write {
        address: address(),
        path: "/sys/x".into(),
        error: io::ErrorKind::PermissionDenied.into(),
    };
    assert_eq!(denied.to_string(), "0000:03:00.0: /sys/x: permission denied; run it as root");
}

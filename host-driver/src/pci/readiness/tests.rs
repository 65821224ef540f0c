//! Made-up trees of the kernel's files: why a function is not ready, and what is said of it.

use super::*;
use crate::pci::testing::{Tree, process};

const ADDRESS: &str = "0000:03:00.0";

/// A function that is ready.
fn ready() -> Tree {
    let tree = Tree::new();
    tree.function(ADDRESS, "0x028000");
    tree.group(7, &[ADDRESS]);
    tree.bind(ADDRESS, "vfio-pci");
    tree
}

/// The obstacles as lines with their remedies.
fn lines(tree: &Tree, process: &Process) -> Vec<String> {
    let address = ADDRESS.parse().unwrap();
    let obstacles = tree.sysfs().obstacles(address, process);
    obstacles.iter().map(|found| format!("{found}; {}", found.remedy(address))).collect()
}

#[test]
fn a_function_alone_in_its_group_and_bound_to_vfio_is_ready() {
    assert_eq!(lines(&ready(), &process()), [""; 0]);
}

#[test]
fn no_iommu_tells_what_to_switch_on() {
    let tree = Tree::new();
    tree.function(ADDRESS, "0x028000");
    let lines = lines(&tree, &process());
    assert_eq!(
        lines[0],
        "no iommu; switch VT-d or AMD-Vi on in the firmware, and boot an Intel machine \
         with intel_iommu=on"
    );
    assert_eq!(lines[1], "not bound to vfio-pci; twinpath bind 0000:03:00.0");
}

#[test]
fn a_function_outside_the_iommu_differs_from_no_iommu() {
    let tree = Tree::new();
    tree.function(ADDRESS, "0x028000");
    tree.function("0000:04:00.0", "0x028000");
    tree.group(1, &["0000:04:00.0"]);
    assert!(lines(&tree, &process())[0].starts_with("not behind the iommu; "));
}

#[test]
fn a_module_that_is_not_loaded_differs_from_one_the_kernel_has_not() {
    let tree = ready();
    tree.remove(&format!("sys/bus/pci/devices/{ADDRESS}/driver"));
    tree.remove("sys/bus/pci/drivers/vfio-pci");
    let none = "kernel 6.1.0-56-cloud-amd64 has no vfio-pci; \
                run a kernel with vfio-pci, such as Debian's linux-image-amd64";
    assert_eq!(lines(&tree, &process())[0], none);
    let list = "lib/modules/6.1.0-56-cloud-amd64/modules.dep";
    tree.file(list, "kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/vfio.ko\n");
    assert_eq!(lines(&tree, &process())[0], "vfio-pci is not loaded; modprobe vfio-pci");
}

#[test]
fn the_module_of_the_container_is_needed_too() {
    let tree = ready();
    tree.remove("sys/module/vfio_iommu_type1");
    let list = "lib/modules/6.1.0-56-cloud-amd64/modules.dep";
    tree.file(list, "kernel/drivers/vfio/vfio_iommu_type1.ko.xz: kernel/drivers/vfio/vfio.ko\n");
    let expected = ["vfio_iommu_type1 is not loaded; modprobe vfio_iommu_type1"];
    assert_eq!(lines(&tree, &process()), expected);
    tree.folder("sys/module/iommufd");
    assert_eq!(lines(&tree, &process()), [""; 0]);
}

#[test]
fn a_vendors_variant_of_vfio_pci_is_as_good() {
    let tree = ready();
    tree.remove(&format!("sys/bus/pci/devices/{ADDRESS}/driver"));
    tree.remove("sys/bus/pci/drivers/vfio-pci");
    tree.bind(ADDRESS, "mlx5-vfio-pci");
    assert_eq!(lines(&tree, &process()), [""; 0]);
    assert!(!is_vfio("novfio-pci") && !is_vfio("vfio-pci-core"));
}

#[test]
fn another_driver_is_told_by_name() {
    let tree = ready();
    tree.remove(&format!("sys/bus/pci/devices/{ADDRESS}/driver"));
    tree.bind(ADDRESS, "e1000e");
    assert_eq!(lines(&tree, &process()), ["bound to e1000e; twinpath bind 0000:03:00.0"]);
}

#[test]
fn a_group_shared_with_functions_bound_elsewhere_names_them() {
    let tree = ready();
    for (address, driver) in [
        ("0000:03:00.1", Some("e1000e")),
        ("0000:03:00.2", None),
        ("0000:03:00.3", Some("vfio-pci")),
        ("0000:03:00.4", Some("pcieport")),
        ("0000:03:00.5", Some("mlx5_core")),
    ] {
        tree.function(address, "0x020000");
        tree.group(7, &[address]);
        driver.inspect(|driver| tree.bind(address, driver));
    }
    assert_eq!(
        lines(&tree, &process()),
        ["iommu group 7 is shared with 0000:03:00.1 (e1000e), 0000:03:00.5 (mlx5_core); \
          twinpath bind 0000:03:00.1; twinpath bind 0000:03:00.5"]
    );
}

#[test]
fn a_kernel_with_cdevs_only_is_told_apart_from_a_missing_file() {
    let tree = ready();
    tree.remove("dev/vfio/7");
    assert_eq!(lines(&tree, &process()), ["no /dev/vfio/7; modprobe vfio_iommu_type1"]);
    tree.folder(&format!("sys/bus/pci/devices/{ADDRESS}/vfio-dev/vfio0"));
    assert_eq!(
        lines(&tree, &process()),
        ["offered only as cdev vfio0, which needs iommufd; run a kernel with CONFIG_VFIO_GROUP"]
    );
}

#[test]
fn no_permission_names_the_file_and_the_command() {
    let may_use = |path: &Path| {
        if path.ends_with("dev/vfio/7") {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            Ok(())
        }
    };
    assert_eq!(
        lines(&ready(), &Process { may_use, ..process() }),
        ["no permission on /dev/vfio/7; sudo chown $USER /dev/vfio/7"]
    );
}

#[test]
fn too_small_a_memory_lock_limit_is_told_with_the_command() {
    let limited = Process { memory_lock: Some(8 << 20), ..process() };
    assert_eq!(
        lines(&ready(), &limited),
        ["memory lock limit 8388608 is below 67108864 bytes of dma memory; \
          ulimit -l 65537, or LimitMEMLOCK=infinity in the unit"]
    );
    assert!(lines(&ready(), &Process { memory_lock: Some(64 << 20), ..process() }).is_empty());
}

#[test]
fn an_absent_function_is_told_and_nothing_else() {
    let tree = Tree::new();
    let lines = lines(&tree, &process());
    assert_eq!(lines, ["no such function; lspci -D lists them; echo 1 > /sys/bus/pci/rescan"]);
}

#[test]
fn the_right_to_lock_memory_is_read_from_the_effective_set() {
    let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000004000\n";
    assert!(has_capability(status, IPC_LOCK));
    assert!(!has_capability(&status.replace("4000", "3fff"), IPC_LOCK));
    assert!(!has_capability("", IPC_LOCK));
}

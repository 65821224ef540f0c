//! Made-up trees of the kernel's files: what is found in them.

use super::*;
use crate::pci::testing::{Tree, process};

#[test]
fn network_functions_are_listed_by_address_and_others_are_not() {
    let tree = Tree::new();
    tree.function("0000:03:00.0", "0x028000");
    tree.function("0000:00:1f.2", "0x010601");
    tree.function("0000:02:00.0", "0x020000");
    let found = tree.sysfs().discover(&process()).unwrap();
    let addresses: Vec<_> = found.iter().map(|found| found.address.to_string()).collect();
    assert_eq!(addresses, ["0000:02:00.0", "0000:03:00.0"]);
    assert_eq!(found[1].identity, (0x1b36, 0x0006));
    assert_eq!(found[1].class, 0x02_8000);
}

#[test]
fn a_function_shows_driver_group_peers_interfaces_and_resets() {
    let tree = Tree::new();
    let folder = tree.function("0000:03:00.0", "0x020000");
    tree.function("0000:03:00.1", "0x020000");
    tree.group(7, &["0000:03:00.0", "0000:03:00.1"]);
    tree.bind("0000:03:00.0", "e1000e");
    tree.file(&format!("{folder}/reset_method"), "flr bus\n");
    tree.interface("0000:03:00.0", "eth0", "0x1003");
    let found = tree.sysfs().discover(&process()).unwrap();
    let (first, peer) = (&found[0], found[1].address);
    assert_eq!(first.driver.as_deref(), Some("e1000e"));
    assert_eq!((first.group, &first.peers), (Some(7), &vec![(peer, None)]));
    assert_eq!(first.reset_methods, ["flr", "bus"]);
    let eth0 = Interface { name: "eth0".into(), is_up: true, has_default_route: false };
    assert_eq!(first.interfaces, [eth0]);
}

#[test]
fn a_default_route_over_a_bridge_is_seen() {
    let tree = Tree::new();
    tree.function("0000:03:00.0", "0x020000");
    tree.interface("0000:03:00.0", "eth0", "0x1002");
    tree.link("sys/class/net/eth0/master", "../br0");
    tree.file("sys/class/net/br0/flags", "0x1003\n");
    tree.file("proc/net/route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n");
    let address = "0000:03:00.0".parse().unwrap();
    let has_route = || tree.sysfs().interfaces(address)[0].has_default_route;
    assert!(!has_route());
    let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
              fe800000000000000000000000000001 00000400 00000001 00000000 00000003 br0\n";
    tree.file("proc/net/ipv6_route", &v6.replace("br0", "lo"));
    assert!(!has_route());
    tree.file("proc/net/ipv6_route", v6);
    assert!(has_route());
    tree.file("proc/net/ipv6_route", "");
    tree.file("proc/net/route", "br0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n");
    assert!(!has_route());
    tree.file("proc/net/route", "br0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
    assert!(has_route());
}

#[test]
fn interfaces_of_virtio_hang_below_its_device() {
    let tree = Tree::new();
    let folder = tree.function("0000:03:00.0", "0x020000");
    tree.folder(&format!("{folder}/virtio3/net/ens3"));
    let interfaces = tree.sysfs().interfaces("0000:03:00.0".parse().unwrap());
    assert_eq!(interfaces[0].name, "ens3");
}

#[test]
fn a_system_without_a_pci_bus_says_which_folder_is_missing() {
    let tree = Tree::new();
    let error = Sysfs::at(tree.path("nowhere")).discover(&process()).unwrap_err();
    assert!(error.to_string().contains("nowhere/sys/bus/pci/devices"), "{error}");
}

#[test]
fn too_few_hugepages_are_told_with_the_number_that_would_do() {
    let tree = Tree::new();
    let few = || tree.sysfs().few_hugepages(&process());
    assert_eq!(few(), None);
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "10\n");
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    assert_eq!(
        few().unwrap().to_string(),
        "3 free hugepages of 2 MiB, dma memory would take 32; sysctl vm.nr_hugepages=39"
    );
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "32\n");
    assert_eq!(few(), None);
}
